"""Solvers against the posterior of a Gaussian mixture, which is known in closed form."""

import pytest
import torch
from threestudio_rsd.inverse import solve
from threestudio_rsd.inverse.mixture_posterior import mixture_posterior
from threestudio_rsd.priors import GaussianMixturePrior
from torch import Tensor


class Matrix:
    """Linear operator of a matrix A (E, D) for images (M, D)."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix

    def A(self, x: Tensor) -> Tensor:  # noqa: N802 deepinv's name
        return x @ self.matrix.T

    def A_adjoint(self, y: Tensor) -> Tensor:  # noqa: N802 deepinv's name
        return y @ self.matrix

    def prox_l2(self, z: Tensor, y: Tensor, gamma: float) -> Tensor:
        system = torch.eye(self.matrix.shape[1]) + gamma * self.matrix.T @ self.matrix
        return torch.linalg.solve(system, (z + gamma * self.A_adjoint(y)).T).T


# A measurement of the first value, which three of the four modes explain.
MEANS = torch.tensor([[0.5, -0.9, 0.4], [0.3, 0.1, -0.8], [0.6, 0.9, 0.6], [-0.9, 0.9, 0.0]])
PRIOR = GaussianMixturePrior(MEANS, torch.full((4,), 0.02), torch.tensor([0.2, 0.3, 0.4, 0.1]))
MATRIX, MEASUREMENT, DEVIATION = torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([0.45]), 0.05
POSTERIOR = mixture_posterior(PRIOR, MATRIX, MEASUREMENT, DEVIATION)


def answers(n_particles: int = 400, n_steps: int = 60, **settings: object) -> Tensor:
    """Samples (N, 3) of a solver."""
    solution = solve(
        MEASUREMENT[None], Matrix(MATRIX), PRIOR, n_particles, features="euclidean", progress=False,
        measurement_deviation=DEVIATION, n_steps=n_steps, clip_estimate=False, **settings,
    )  # fmt: skip
    return solution.latents[0]


def weight_error(samples: Tensor) -> float:
    """Total variation between the shares of the modes and their weights."""
    shares = torch.bincount(POSTERIOR.nearest_mode(samples), minlength=4) / len(samples)
    return float((shares - POSTERIOR.weights).abs().sum() / 2)


def test_posterior_equals_bayes_rule_on_a_grid() -> None:
    prior = GaussianMixturePrior(
        torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.tensor([0.1, 0.3]), torch.tensor([0.6, 0.4])
    )
    matrix, y, deviation = torch.tensor([[0.8, -0.5]]), torch.tensor([0.2]), 0.2
    posterior = mixture_posterior(prior, matrix, y, deviation)
    axis = torch.linspace(-3, 4, 700)
    grid = torch.cartesian_prod(axis, axis)
    squares = (grid[:, None] - prior.means).square().sum(-1)
    density = (prior.weights * (-squares / (2 * prior.variances)).exp() / prior.variances).sum(1)
    density = density * (-((y - grid @ matrix.T) ** 2).sum(1) / (2 * deviation**2)).exp()
    density = density / density.sum()
    mean = density @ grid
    torch.testing.assert_close(posterior.mean, mean, rtol=1e-3, atol=1e-3)
    covariance = (grid - mean).T @ (density[:, None] * (grid - mean))
    torch.testing.assert_close(posterior.covariance, covariance, rtol=1e-3, atol=1e-3)


def within_modes(samples: Tensor) -> list[float]:
    """Spread within each mode of weight, over that of the posterior."""
    modes = POSTERIOR.nearest_mode(samples)
    squares = (samples - POSTERIOR.means[modes]).square().sum(1)
    return [float(squares[modes == k].mean() / POSTERIOR.covariances[k].trace()) for k in range(3)]


@pytest.mark.long
def test_proximal_solver_with_fixed_noise_samples_the_posterior() -> None:
    samples = answers(name="proximal", noise="fixed", correction_memory=1.0, prior_deviation=1.0)
    assert weight_error(samples) < 0.05
    assert float((samples.mean(0) - POSTERIOR.mean).norm()) < 0.1
    assert 0.8 < float(torch.cov(samples.T).trace() / POSTERIOR.covariance.trace()) < 1.1
    assert 0.5 < min(within_modes(samples)) <= max(within_modes(samples)) < 1.2


@pytest.mark.slow
def test_the_jacobian_brings_the_weights_of_the_modes_nearer_to_the_posterior() -> None:
    settings = {"name": "proximal", "noise": "fixed", "correction_memory": 1.0, "prior_deviation": 1.0}
    without = answers(**settings, jacobian_interval=None)
    assert weight_error(answers(**settings)) < 0.6 * weight_error(without)


@pytest.mark.long
def test_fresh_noise_in_every_step_loses_more_than_half_of_the_variance_within_modes() -> None:
    samples = answers(name="proximal", noise="fresh", prior_deviation=1.0)
    assert max(within_modes(samples)) < 0.5
    assert weight_error(samples) < 0.25
