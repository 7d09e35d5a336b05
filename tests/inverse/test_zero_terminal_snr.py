"""Solvers under noise schedules that end in pure noise (alpha_T = 0), or start without noise (sigma_0 = 0)."""

import pytest
import torch
from threestudio_rsd.errors import UserError
from threestudio_rsd.inverse import solve
from threestudio_rsd.priors import GaussianMixturePrior
from threestudio_rsd.priors.gaussian_mixture import scaled_linear_alphas_cumprod


class FirstValue:
    """Measures the first of two values."""

    def A(self, x: torch.Tensor) -> torch.Tensor:  # noqa: N802 deepinv's name
        return x[:, :1]


def prior() -> GaussianMixturePrior:
    levels = scaled_linear_alphas_cumprod()
    levels[:2], levels[-1] = 1.0, 0.0
    means = torch.tensor([[0.5, 0.1], [0.5, 0.9]])
    return GaussianMixturePrior(means, torch.full((2,), 0.003), torch.full((2,), 0.5), alphas_cumprod=levels)


@pytest.mark.parametrize("settings", [{"name": "rsd", "kernel_input": "denoised", "gamma": 1.0}, {"name": "reddiff"}])
def test_variational_solvers_stay_finite(settings: dict) -> None:
    solution = solve(
        torch.tensor([[0.5]]), FirstValue(), prior(), 3, n_steps=20, progress=False, features=lambda x: x, **settings
    )
    assert solution.latents.isfinite().all()
    assert all(torch.tensor(values).isfinite().all() for values in solution.history.values())


@pytest.mark.slow
@pytest.mark.parametrize("n_steps", [50, 1000])
def test_posterior_sampler_with_zero_likelihood_step_samples_the_prior(n_steps: int) -> None:
    settings = {"name": "dps", "n_steps": n_steps, "likelihood_step": 0.0}
    solution = solve(torch.tensor([[0.5]]), FirstValue(), prior(), 20, progress=False, **settings)
    first, second = solution.reconstructions[0].unbind(-1)
    assert (first - 0.5).abs().max() < 0.3
    assert ((second - 0.5).abs() - 0.4).abs().max() < 0.3


def test_posterior_sampling_with_a_network_that_predicts_noise_is_refused() -> None:
    network = prior()
    network.prediction_type = "epsilon"
    with pytest.raises(UserError, match="ends in pure noise"):
        solve(torch.tensor([[0.5]]), FirstValue(), network, 3, name="dps", n_steps=5, progress=False)
