"""Perp-Neg: negative prompts that do not weaken the prompt itself (Armandpour et al., 2023)."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class WeightedNegatives:
    """K weighted negatives for each of N particles.

    Attributes:
        values: text embeddings of the negatives (N, K, L, D), or noise predictions for them (N, K, ...).
        weights: (N, K); below 0 steers away.
    """

    values: Tensor
    weights: Tensor

    def expand(self, n_particles: int) -> "WeightedNegatives":
        """Repeat for N particles, without a copy."""
        return WeightedNegatives(*(part.expand(n_particles, *part.shape[1:]) for part in (self.values, self.weights)))

    def to(self, device: torch.device | str) -> "WeightedNegatives":
        """Move to a device."""
        return WeightedNegatives(self.values.to(device), self.weights.to(device))


def perpendicular(x: Tensor, y: Tensor) -> Tensor:
    """Component of x perpendicular to y for each particle: x - y <x, y> / <y, y>.

    Args:
        x: (N, ...).
        y: (N, ...).

    Returns:
        (N, ...); x itself where y is 0.
    """
    over = tuple(range(1, x.ndim))
    squared = (y * y).sum(over, keepdim=True).clamp_min(torch.finfo(y.dtype).tiny)
    return x - y * ((x * y).sum(over, keepdim=True) / squared)


def perp_neg_condition(condition: Tensor, unconditional: Tensor, negatives: WeightedNegatives) -> Tensor:
    """Perp-Neg's replacement for d_c in guidance: d_c + sum_k weight_k perpendicular(eps_k - eps_u, d_c).

    Args:
        condition: d_c = eps_c - eps_u, (N, ...).
        unconditional: eps_u, (N, ...).
        negatives: noise predictions eps_k (N, K, ...) and their weights.

    Returns:
        (N, ...)
    """
    steered = condition
    for negative, weights in zip(negatives.values.unbind(1), negatives.weights.unbind(1), strict=True):
        weight = weights.reshape(-1, *[1] * (condition.ndim - 1))
        steered = steered + weight * perpendicular(negative - unconditional, condition)
    return steered
