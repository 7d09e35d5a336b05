"""The probability flow, DSD and SDI against diffusers' DDIM and its own trajectories."""

import pytest
import torch
from diffusers import DDIMScheduler
from threestudio_rsd.distillation import (
    DSD,
    SDS,
    RepulsiveDistillation,
    descending_grid,
    follow_flow,
    invert_noise,
    simulate_noise,
)
from threestudio_rsd.errors import UserError
from threestudio_rsd.priors import GaussianMixturePrior

STEPS = 40
GRID = descending_grid(975, STEPS - 1)


@pytest.fixture(scope="module")
def mixture() -> GaussianMixturePrior:
    means = torch.tensor([[1.0, 0.0], [-1.0, 0.5], [0.0, -1.0]])
    return GaussianMixturePrior(means, torch.full((3,), 0.05), torch.tensor([1.0, 2.0, 1.0]))


@pytest.fixture
def noise() -> torch.Tensor:
    return torch.randn(16, 2, generator=torch.Generator().manual_seed(0))


def ddim(prior: GaussianMixturePrior, noise: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Diffusers' own DDIM from x_T = sigma_T noise: one-step estimates at every timestep of GRID, and the sample."""
    ratios = prior.alphas_cumprod.double() / torch.cat([torch.ones(1), prior.alphas_cumprod[:-1]])
    scheduler = DDIMScheduler(trained_betas=(1 - ratios).numpy(), clip_sample=False, timestep_spacing="leading")
    scheduler.set_timesteps(STEPS)
    assert scheduler.timesteps.tolist() == GRID
    x_t, estimates = prior.sigma(GRID[0]) * noise, []
    for t in GRID:
        predicted = prior.predict_noise(x_t.float(), t, prior.embed(), 1.0)
        step = scheduler.step(predicted, t, x_t, eta=0.0)
        x_t = step.prev_sample
        estimates.append(step.pred_original_sample.float())
    return estimates, x_t.float()


def test_falling_timesteps_are_ddim(mixture, noise) -> None:
    estimates, _ = ddim(mixture, noise)
    start = noise * mixture.sigma(GRID[0]) / mixture.alpha(GRID[0])
    x = follow_flow(mixture, start, GRID, mixture.embed(), 1.0)
    predicted = mixture.predict_noise(mixture.alpha(0) * x, 0, mixture.embed(), 1.0)
    estimate = x - predicted * mixture.sigma(0) / mixture.alpha(0)
    torch.testing.assert_close(estimate, estimates[-1], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("reference", ["simulated", "interpolated"])
def test_dsd_on_its_own_timesteps_is_ddim(mixture, noise, reference: str) -> None:
    """The particles are DDIM's one-step estimates in every step, and its sample at the end."""
    estimates, sample = ddim(mixture, noise)
    method = DSD(mixture, 1.0, reference)
    distillation = RepulsiveDistillation(method, weighting_strategy="snr")
    x, embedding = torch.zeros_like(noise), mixture.embed()
    for index, t in enumerate(GRID):
        simulated = simulate_noise(mixture, noise, GRID[:index], embedding, 1.0)
        method.reference_t = GRID[index - 1] if index else None
        x = x - distillation(x, t, simulated, embedding).gradient
        torch.testing.assert_close(x, estimates[index], rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(x, sample, rtol=2e-2, atol=2e-2)  # the scheduler ends at alpha_0, not at 1


@pytest.mark.parametrize("t", [240, 480, 720])
def test_inversion_returns_the_noise_of_ddim(mixture, noise, t: int) -> None:
    """From DDIM's sample, fine steps of inversion lead back to its trajectory."""
    fine = descending_grid(960, 480)
    start, embedding = noise * mixture.sigma(960) / mixture.alpha(960), mixture.embed()
    at_t = follow_flow(mixture, start, fine[: fine.index(t) + 1], embedding, 1.0)
    x_0 = follow_flow(mixture, at_t, fine[fine.index(t) :], embedding, 1.0)
    found = invert_noise(mixture, x_0, fine[fine.index(t) :][::-1], embedding, 1.0)
    expected = (at_t - x_0) * mixture.alpha(t) / mixture.sigma(t)
    assert (found - expected).norm() < 0.05 * expected.norm()
    target = x_0 - RepulsiveDistillation(SDS(mixture, 1.0), weighting_strategy="snr")(x_0, t, found, embedding).gradient
    estimate = at_t - mixture.predict_noise(mixture.alpha(t) * at_t, t, embedding, 1.0) * (
        mixture.sigma(t) / mixture.alpha(t)
    )
    assert (target - estimate).norm() < 0.1 * estimate.norm(), "with that noise SDS has DDIM's one-step estimate"


def test_network_calls(mixture, noise) -> None:
    """Simulation costs a prediction for each timestep, inversion one less."""
    before = mixture.network_calls
    simulate_noise(mixture, noise, GRID[:4], mixture.embed(), 1.0)
    assert mixture.network_calls - before == 4 * len(noise)
    invert_noise(mixture, noise, [0, 100, 200], mixture.embed(), 1.0)
    assert mixture.network_calls - before == 6 * len(noise)


def test_an_infinite_noise_level_is_refused(noise) -> None:
    prior = GaussianMixturePrior(torch.zeros(1, 2), torch.ones(1), torch.ones(1), 10, torch.linspace(0.99, 0, 10))
    with pytest.raises(UserError, match=r"alpha_t > 0.*max_step_percent"):
        follow_flow(prior, noise, [9, 5], prior.embed(), 1.0)
