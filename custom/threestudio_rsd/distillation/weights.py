"""Weights as functions of the timestep: w(t) of the whole gradient, s(t) of the force."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import UserError, one_of
from ..priors import Prior
from ..priors.noise_levels import noise_level

Weight = Callable[[Tensor, Tensor], Tensor]  # of alpha_t and sigma_t

WEIGHTS: dict[str, Weight] = {
    "sds": lambda alpha, sigma: sigma**2,
    "uniform": lambda alpha, sigma: torch.ones_like(sigma),
    "fantasia3d": lambda alpha, sigma: alpha * sigma**2,
    "snr": lambda alpha, sigma: sigma / alpha,  # section 5.1: lambda_t = lambda sigma_t / alpha_t
}
EXACT = "exact"  # weighting_strategy: see `exact_step`
FORCE_SCALES: dict[str, Weight] = {
    "sigma": lambda alpha, sigma: sigma,  # Alg. 1
    "constant": lambda alpha, sigma: torch.ones_like(sigma),
    "one_minus_alpha_cumprod": lambda alpha, sigma: 1 - alpha**2,  # the authors' DeepFloyd runs
}


def timestep_weight(kind: str, alpha: Tensor, sigma: Tensor) -> Tensor:
    """Weight w(t) of the whole gradient.

    Args:
        kind: `sds` sigma_t^2, `uniform` 1, `fantasia3d` alpha_t sigma_t^2, or `snr` sigma_t / alpha_t.
        alpha: signal level alpha_t, any shape.
        sigma: noise level sigma_t, like alpha.

    Returns:
        w(t), like alpha.

    Raises:
        UserError: an unknown kind.

    Example:
        >>> timestep_weight("snr", alpha=torch.tensor(0.8), sigma=torch.tensor(0.6))
        tensor(0.7500)
    """
    one_of("weighting_strategy", kind, tuple(WEIGHTS))
    return WEIGHTS[kind](alpha, sigma)


def exact_step(prior: Prior, t: int, t_next: int | None) -> float:
    """Weight lambda_t - lambda_{t_next} of the exact step, with lambda = sigma / alpha.

    With one fixed noise per particle, plain gradient descent with learning rate 1 and this weight makes SDS equal to
    DDIM, the probability-flow ODE (Yan et al., 2025, arXiv 2501.05445).

    Args:
        prior: the diffusion model.
        t: timestep of this step.
        t_next: timestep of the next step; None: this is the last one, which ends at noise level 0.

    Raises:
        UserError: alpha_t = 0, where lambda is infinite.
    """
    level = noise_level(prior, t)
    if math.isinf(level):
        raise UserError(f"weighting_strategy='exact' needs alpha_t > 0, which is 0 at t={t}; lower max_step_percent.")
    return level - (0.0 if t_next is None else noise_level(prior, t_next))


def force_scale(kind: str, alpha: Tensor, sigma: Tensor) -> Tensor:
    """Scale s(t) of the repulsive force.

    Args:
        kind: `sigma` sigma_t, `constant` 1, or `one_minus_alpha_cumprod` 1 - alpha_t^2.
        alpha: signal level alpha_t, any shape.
        sigma: noise level sigma_t, like alpha.

    Returns:
        s(t), like alpha.

    Raises:
        UserError: an unknown kind.
    """
    one_of("force_scale", kind, tuple(FORCE_SCALES))
    return FORCE_SCALES[kind](alpha, sigma)
