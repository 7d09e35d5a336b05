"""Ancestral sampling and particle guidance on a mixture whose modes are known."""

import pytest
import torch
from threestudio_rsd.errors import UserError
from threestudio_rsd.priors import GaussianMixturePrior, sample_ancestral, sample_particle_guidance
from threestudio_rsd.repulsion import RBFKernel, RepulsiveForce

ENSEMBLES = 300


@pytest.fixture
def mixture() -> GaussianMixturePrior:
    means = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    return GaussianMixturePrior(means, torch.tensor([0.01, 0.01]), torch.tensor([0.5, 0.5]))


def noise_of(n_particles: int):
    return lambda step: torch.randn(n_particles, 2, generator=torch.Generator().manual_seed(step))


def test_strength_zero_is_ancestral_sampling_to_the_bit(mixture: GaussianMixturePrior) -> None:
    def fail(x: torch.Tensor) -> torch.Tensor:
        raise AssertionError("strength = 0 must run neither decoder nor feature network")

    embedding = mixture.embed("")
    plain = sample_ancestral(mixture, embedding, 5, noise_of(5))
    assert torch.equal(sample_particle_guidance(mixture, embedding, 5, noise_of(5), fail, 0.0), plain)


def test_one_particle_is_not_repelled(mixture: GaussianMixturePrior) -> None:
    embedding, force = mixture.embed(""), RepulsiveForce("euclidean", form="sum")
    plain = sample_ancestral(mixture, embedding, 1, noise_of(1))
    assert torch.equal(sample_particle_guidance(mixture, embedding, 1, noise_of(1), force, 8.0), plain)


@pytest.mark.parametrize("weight_power", [-1.0, 0.0])
def test_pairs_cover_both_modes_more_often(mixture: GaussianMixturePrior, weight_power: float) -> None:
    """Pairs cover both modes more often with guidance, and nearly every particle still ends in a mode."""
    force = RepulsiveForce("euclidean", form="sum")
    covered = {}
    for strength in (0.0, 1.0):
        x = sample_particle_guidance(
            mixture,
            mixture.embed(""),
            2 * ENSEMBLES,
            noise_of(2 * ENSEMBLES),
            lambda denoised: force(denoised, ensembles=ENSEMBLES),
            strength,
            weight_power,
        )
        assert ((x[:, :1].abs() - 1).abs() < 0.5).float().mean() > 0.9
        side = x[:, 0].sign().view(ENSEMBLES, 2)
        covered[strength] = float((side[:, 0] != side[:, 1]).float().mean())
    assert covered[0.0] == pytest.approx(0.5, abs=0.1)
    assert covered[1.0] > 0.75


def test_the_gradient_of_the_potential_is_added_to_the_score(mixture: GaussianMixturePrior) -> None:
    """One step by hand, log Phi = -(a / 2) sum_ij k differentiated by autograd."""
    n, h, strength, power, embedding = 4, 0.7, 0.3, 2.0, mixture.embed("")
    t = mixture.num_train_timesteps - 1
    s = mixture.sigma(t) / mixture.alpha(t)
    x = noise_of(n)(0) * (1 + s**2).sqrt()
    estimate = mixture.predict_noise(mixture.alpha(t) * x, t, embedding)
    denoised = (x - s * estimate).requires_grad_()
    kernel = torch.exp(-(denoised[:, None] - denoised).square().sum(-1) / h)
    log_potential = -(strength * s**power) / 2 * kernel.sum()
    score = -estimate / s + torch.autograd.grad(log_potential, denoised)[0]
    force = RepulsiveForce("euclidean", RBFKernel(h), form="sum")
    result = sample_particle_guidance(mixture, embedding, n, noise_of(n), force, strength, power, num_inference_steps=1)
    torch.testing.assert_close(result, x + s**2 * score)


@pytest.mark.parametrize("strength", [-1.0, float("nan"), float("inf")])
def test_invalid_strengths_raise(mixture: GaussianMixturePrior, strength: float) -> None:
    with pytest.raises(UserError, match=r"strength=.*at least 0"):
        sample_particle_guidance(mixture, mixture.embed(""), 2, noise_of(2), torch.zeros_like, strength)


def test_noise_for_another_number_of_particles_raises(mixture: GaussianMixturePrior) -> None:
    with pytest.raises(ValueError, match="noise for 3 particles"):
        sample_ancestral(mixture, mixture.embed(""), 2, noise_of(3))
