"""Score distillation along the prior's own flow: fixed noise and the exact step equal DDIM."""

import pytest
import torch
from diffusers import DDIMScheduler
from threestudio_rsd.distillation import NFSD, SDS, RepulsiveDistillation
from threestudio_rsd.distillation.noises import NoiseSource
from threestudio_rsd.errors import UserError
from threestudio_rsd.priors import GaussianMixturePrior, Prior, load_prior, sample_ancestral
from threestudio_rsd.priors.noise_levels import NoiseLevelInterval, noise_level
from threestudio_rsd.repulsion import RepulsiveForce

from tests.tiny_models import tiny_stable_diffusion

NOTHING, EVERYTHING = NoiseLevelInterval(0, 0), NoiseLevelInterval()
DEVIATION = 0.1  # well above the lowest noise level of the schedule, .03


def ring(n_modes: int = 8) -> GaussianMixturePrior:
    angles = torch.arange(n_modes) / n_modes * 2 * torch.pi
    means = torch.stack([angles.cos(), angles.sin()], 1)
    return GaussianMixturePrior(means, torch.full((n_modes,), DEVIATION**2), torch.ones(n_modes))


def timesteps(n_steps: int) -> list[int]:
    return list(range(1000 - 1000 // n_steps, -1, -1000 // n_steps))


def distill(distillation: RepulsiveDistillation, noise: torch.Tensor, n_steps: int, gamma: float = 0.0) -> torch.Tensor:
    """Exact steps from x = 0 with one fixed noise."""
    prior = distillation.method.prior
    embedding = prior.embed("a mushroom")
    x, steps = torch.zeros_like(noise), timesteps(n_steps)
    for t, t_next in zip(steps, [*steps[1:], None], strict=True):
        x = x - distillation(x, t, noise, embedding, gamma, t_next=t_next).gradient
    return x


def ddim(prior: Prior, noise: torch.Tensor, n_steps: int, guidance_scale: float) -> torch.Tensor:
    """Diffusers' own DDIM with eta = 0 from x_T = sigma_T noise."""
    scheduler = DDIMScheduler(
        trained_betas=(
            1 - prior.alphas_cumprod.double() / torch.cat([torch.ones(1), prior.alphas_cumprod[:-1]])
        ).numpy(),
        clip_sample=False,
        timestep_spacing="leading",
    )
    scheduler.set_timesteps(n_steps)
    embedding = prior.embed("a mushroom")
    x_t = prior.sigma(timesteps(n_steps)[0]) * noise
    for t in scheduler.timesteps:
        predicted = prior.predict_noise(x_t.float(), int(t), embedding, guidance_scale)
        x_t = scheduler.step(predicted, t, x_t, eta=0.0).prev_sample
    return x_t


@pytest.mark.parametrize("n_steps", [10, 40])
def test_it_equals_ddim_on_a_mixture(n_steps: int) -> None:
    prior = ring()
    noise = torch.randn(16, 2)
    found = distill(RepulsiveDistillation(SDS(prior, 1.0), weighting_strategy="exact"), noise, n_steps)
    torch.testing.assert_close(found, ddim(prior, noise, n_steps, 1.0), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_it_equals_ddim_on_stable_diffusion(tmp_path, prediction_type: str) -> None:
    prior = load_prior(str(tiny_stable_diffusion(tmp_path / "model", prediction_type=prediction_type)))
    noise = torch.randn(2, *prior.latent_shape)
    found = distill(RepulsiveDistillation(SDS(prior, 5.0), weighting_strategy="exact"), noise, 10)
    expected = ddim(prior, noise, 10, 5.0)
    torch.testing.assert_close(found, expected, atol=2e-4 * float(expected.abs().max()), rtol=1e-3)


def test_an_interval_of_all_levels_is_plain_guidance_to_the_bit(bundled) -> None:
    noise = torch.randn(2, *bundled.latent_shape)
    plain, whole = (
        distill(RepulsiveDistillation(SDS(bundled), weighting_strategy="exact", guidance_interval=interval), noise, 4)
        for interval in (None, EVERYTHING)
    )
    assert torch.equal(plain, whole)


def test_an_empty_interval_is_the_prediction_for_the_prompt(bundled) -> None:
    noise = torch.randn(2, *bundled.latent_shape)
    outside = RepulsiveDistillation(SDS(bundled, 7.5), weighting_strategy="exact", guidance_interval=NOTHING)
    conditional = RepulsiveDistillation(SDS(bundled, 1.0), weighting_strategy="exact")
    torch.testing.assert_close(distill(outside, noise, 4), distill(conditional, noise, 4), atol=1e-4, rtol=1e-4)


def test_the_number_of_network_evaluations_falls(bundled, monkeypatch) -> None:
    rows = []
    predict = bundled.raw_predict
    monkeypatch.setattr(bundled, "raw_predict", lambda x_t, t, text: rows.append(len(x_t)) or predict(x_t, t, text))
    noise = torch.randn(2, *bundled.latent_shape)
    steps = timesteps(5)
    interval = NoiseLevelInterval(0.28, 2.9)
    inside = sum(interval.contains(noise_level(bundled, t)) for t in steps)
    assert 0 < inside < 5
    distill(RepulsiveDistillation(SDS(bundled), weighting_strategy="exact", guidance_interval=interval), noise, 5)
    assert rows == [4 if interval.contains(noise_level(bundled, t)) else 2 for t in steps]
    rows.clear()
    distill(RepulsiveDistillation(NFSD(bundled), weighting_strategy="exact", guidance_interval=NOTHING), noise, 5)
    assert rows == [4] * 5, "prompt and negative prompt"


def test_the_sampler_takes_an_interval_too(bundled) -> None:
    embedding, noise = bundled.embed("a car"), torch.randn(3, 1, *bundled.latent_shape)
    plain = sample_ancestral(bundled, embedding, 1, lambda step: noise[step], 7.5, 2)
    whole = sample_ancestral(bundled, embedding, 1, lambda step: noise[step], 7.5, 2, guidance_interval=EVERYTHING)
    assert torch.equal(plain, whole)
    outside = sample_ancestral(bundled, embedding, 1, lambda step: noise[step], 7.5, 2, guidance_interval=NOTHING)
    alone = sample_ancestral(bundled, embedding, 1, lambda step: noise[step], 1.0, 2)
    assert torch.equal(outside, alone)


def assignment(x: torch.Tensor, prior: GaussianMixturePrior) -> tuple[torch.Tensor, torch.Tensor]:
    """Nearest mode and offset from it."""
    nearest = torch.cdist(x, prior.means).argmin(1)
    return nearest, x - prior.means[nearest]


@pytest.mark.slow
def test_fixed_noise_samples_the_mixture_and_fresh_noise_collapses() -> None:
    prior, n_particles = ring(), 800
    exact = RepulsiveDistillation(SDS(prior, 1.0), weighting_strategy="exact")
    noise = NoiseSource("fixed", seed=1)(0, n_particles, (2,))
    nearest, offset = assignment(distill(exact, noise, 500), prior)
    counts = nearest.bincount(minlength=8).float()
    assert float(((counts - 100) ** 2 / 100).sum()) < 24.3  # chi-squared with 7 degrees of freedom, p = .001
    assert float(offset.std()) == pytest.approx(DEVIATION, rel=0.1)
    source = NoiseSource("fresh", seed=1)
    x, steps = torch.zeros(n_particles, 2), timesteps(250)
    sds = RepulsiveDistillation(SDS(prior, 1.0), weighting_strategy="uniform")
    for step, t in enumerate(steps):
        x = x - 0.05 * sds(x, t, source(step, n_particles, (2,)), prior.embed()).gradient
    _, offset = assignment(x, prior)
    assert float(offset.std()) < 0.8 * DEVIATION


def test_the_force_parts_the_particles_of_a_mixture() -> None:
    prior = ring()
    found = {}
    for gamma in (0.0, 1.0):
        force = RepulsiveForce("euclidean")
        distillation = RepulsiveDistillation(
            SDS(prior, 1.0), force, "clean", "exact", force_interval=NoiseLevelInterval(0.5)
        )
        modes = []
        for seed in range(20):
            x = distill(distillation, NoiseSource("fixed", seed=seed)(0, 8, (2,)), 50, gamma)
            modes.append(len(assignment(x, prior)[0].unique()))
        found[gamma] = sum(modes) / len(modes)
    assert found[1.0] > found[0.0] + 0.5


def test_where_the_force_is_off_its_networks_do_not_run(bundled) -> None:
    def refuse(images: torch.Tensor) -> torch.Tensor:
        raise AssertionError("the feature network ran")

    force = RepulsiveForce(refuse, decode=bundled.decode)
    distillation = RepulsiveDistillation(
        SDS(bundled), force, "clean", "exact", force_interval=NOTHING, guidance_interval=NOTHING
    )
    assert distill(distillation, torch.randn(2, *bundled.latent_shape), 2, gamma=5.0).isfinite().all()


def test_an_unknown_weighting_is_refused() -> None:
    with pytest.raises(UserError, match=r"weighting_strategy='exakt'.*exact"):
        RepulsiveDistillation(SDS(ring()), weighting_strategy="exakt")
