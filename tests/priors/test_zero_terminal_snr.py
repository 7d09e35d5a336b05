"""Noise schedules that end in pure noise (alpha_T = 0), or start without noise (sigma_0 = 0)."""

from pathlib import Path

import pytest
import torch
from threestudio_rsd.distillation import SDS, RepulsiveDistillation, exact_step
from threestudio_rsd.distillation.noises import select_noise
from threestudio_rsd.errors import UserError
from threestudio_rsd.priors import GaussianMixturePrior, load_prior, sample_ancestral, sample_particle_guidance
from threestudio_rsd.priors.base import noise_from_output
from threestudio_rsd.priors.gaussian_mixture import scaled_linear_alphas_cumprod
from threestudio_rsd.repulsion import RBFKernel, RepulsiveForce

from .broken_pipelines import zero_terminal_snr

MODES = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])


def mixture(first: float | None = None, last: float | None = None) -> GaussianMixturePrior:
    """Two modes under Stable Diffusion's schedule with other levels alpha^2 at t = 0 and T - 1."""
    levels = scaled_linear_alphas_cumprod()
    if first is not None:
        levels[0] = first
    if last is not None:
        levels[-1] = last
    return GaussianMixturePrior(MODES, torch.full((2,), 0.01), torch.ones(2), alphas_cumprod=levels)


def noise_of(step: int) -> torch.Tensor:
    return torch.randn(20, 2, generator=torch.Generator().manual_seed(step))


@pytest.mark.parametrize("prior", [mixture(last=0.0), mixture(first=1.0), mixture(1.0, 0.0)])
def test_samplers_end_in_the_modes(prior: GaussianMixturePrior) -> None:
    embedding = prior.embed()
    samples = sample_ancestral(prior, embedding, 20, noise_of)
    assert ((samples[:, 0].abs() - 1).abs() < 0.5).float().mean() > 0.9
    force = RepulsiveForce("euclidean", RBFKernel(1.0), form="sum")
    for power in (-1.0, 0.0):
        guided = sample_particle_guidance(prior, embedding, 20, noise_of, force, 0.1, power)
        assert ((guided[:, 0].abs() - 1).abs() < 0.5).float().mean() > 0.9


def test_a_last_level_that_rises_is_sampled() -> None:
    """As with diffusers' EulerDiscreteScheduler, whose last alpha^2 is 2^-24 with a zero terminal SNR."""
    levels = scaled_linear_alphas_cumprod()
    levels[-2], levels[-1] = 2.0**-25, 2.0**-24
    prior = GaussianMixturePrior(MODES, torch.full((2,), 0.01), torch.ones(2), alphas_cumprod=levels)
    samples = sample_ancestral(prior, prior.embed(), 20, noise_of, num_inference_steps=1000)
    assert ((samples[:, 0].abs() - 1).abs() < 0.5).float().mean() > 0.9


def test_other_schedules_start_at_the_last_timestep() -> None:
    assert mixture().last_timestep == 999
    assert mixture(last=0.0).last_timestep == 998


@pytest.mark.slow
@pytest.mark.parametrize("prediction_type", ["v_prediction", "sample"])
def test_a_network_that_predicts_v_or_x_0_samples_finite_images(tmp_path: Path, prediction_type: str) -> None:
    prior = load_prior(zero_terminal_snr(tmp_path / "model", prediction_type))
    samples = sample_ancestral(
        prior, prior.embed("a mushroom"), 2, lambda step: torch.randn(2, 4, 16, 16), num_inference_steps=3
    )
    assert samples.isfinite().all()


def test_a_network_that_predicts_noise_cannot_sample_from_pure_noise(tmp_path: Path) -> None:
    prior = load_prior(zero_terminal_snr(tmp_path / "model", "epsilon"))
    with pytest.raises(UserError, match=r"ends in pure noise.*'epsilon' cannot sample"):
        sample_ancestral(prior, prior.embed("a mushroom"), 2, lambda step: torch.randn(2, 4, 16, 16))


@pytest.mark.parametrize("options", [{"kernel_input": "denoised"}, {"weighting_strategy": "snr"}])
def test_gradients_that_divide_by_alpha_need_a_signal(options: dict) -> None:
    prior = mixture(last=0.0)
    x = torch.randn(2, 2)
    distillation = RepulsiveDistillation(SDS(prior), RepulsiveForce("euclidean"), **options)
    for t in (999, torch.tensor([10, 999])):
        with pytest.raises(UserError, match=r"needs alpha_t > 0, which is 0 at t=.*up to 998"):
            distillation(x, t, x, prior.embed(), gamma=1.0)
    assert distillation(x, 998, x, prior.embed(), gamma=1.0).gradient.isfinite().all()
    plain = RepulsiveDistillation(SDS(prior), RepulsiveForce("euclidean"))
    assert plain(x, 999, x, prior.embed(), gamma=1.0).gradient.isfinite().all()


def test_the_exact_step_and_the_selection_of_noise_need_a_signal() -> None:
    prior = mixture(last=0.0)
    with pytest.raises(UserError, match="'exact' needs alpha_t > 0"):
        exact_step(prior, 999, 500)
    with pytest.raises(UserError, match="noise_candidates needs alpha_t > 0"):
        select_noise(prior, prior.embed(), torch.randn(4, 2), 2, 999, lambda images: images)
    assert len(select_noise(prior, prior.embed(), torch.randn(4, 2), 2, 998, lambda images: images)) == 2


def test_without_noise_a_prediction_of_x_0_gives_no_noise() -> None:
    x = torch.randn(3, 2, requires_grad=True)
    noise = noise_from_output(x * 1.0, x, torch.ones(()), torch.zeros(()), "sample")
    assert torch.equal(noise, torch.zeros(3, 2))
    noise.sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("levels", [[0.9, float("nan")], [1.1, 0.5], [0.5, -0.1], [0.0, 0.0]])
def test_impossible_noise_levels_are_refused(levels: list[float]) -> None:
    with pytest.raises(UserError, match="alphas_cumprod is impossible"):
        GaussianMixturePrior(MODES, torch.ones(2), torch.ones(2), alphas_cumprod=torch.tensor(levels))
