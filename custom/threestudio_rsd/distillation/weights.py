"""Weights over the timestep: w(t) of the whole gradient, s(t) of the force."""

import torch
from torch import Tensor

from ..errors import UserError

WEIGHTS = {
    "sds": lambda alpha, sigma: sigma**2,
    "uniform": lambda alpha, sigma: torch.ones_like(sigma),
    "fantasia3d": lambda alpha, sigma: alpha * sigma**2,
    "snr": lambda alpha, sigma: sigma / alpha,  # section 5.1: lambda_t = lambda sigma_t / alpha_t
}
FORCE_SCALES = {
    "sigma": lambda alpha, sigma: sigma,  # Alg. 1
    "constant": lambda alpha, sigma: torch.ones_like(sigma),
    "one_minus_alpha_cumprod": lambda alpha, sigma: 1 - alpha**2,  # the authors' DeepFloyd runs
}


def _evaluate(key: str, table: dict, kind: str, alpha: Tensor, sigma: Tensor) -> Tensor:
    if kind not in table:
        raise UserError(f"{key}={kind!r} is unknown; accepted: {', '.join(table)}.")
    return table[kind](alpha, sigma)


def timestep_weight(kind: str, alpha: Tensor, sigma: Tensor) -> Tensor:
    """w(t), shaped like alpha and sigma. Raises UserError for an unknown kind."""
    return _evaluate("weighting_strategy", WEIGHTS, kind, alpha, sigma)


def force_scale(kind: str, alpha: Tensor, sigma: Tensor) -> Tensor:
    """s(t), shaped like alpha and sigma. Raises UserError for an unknown kind."""
    return _evaluate("force_scale", FORCE_SCALES, kind, alpha, sigma)
