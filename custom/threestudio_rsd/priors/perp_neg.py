"""Perp-Neg: negative prompts that leave the prompt's own direction alone (Armandpour et al., 2023)."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class WeightedNegatives:
    """K negatives for each of N particles.

    Attributes:
        values: their text embeddings (N, K, L, D), or the noise predictions for them (N, K, ...).
        weights: (N, K); below 0 steers away.
    """

    values: Tensor
    weights: Tensor

    def expand(self, n: int) -> "WeightedNegatives":
        """The same for n particles."""
        return WeightedNegatives(*(part.expand(n, *part.shape[1:]) for part in (self.values, self.weights)))

    def to(self, device: torch.device | str) -> "WeightedNegatives":
        """The same on another device."""
        return WeightedNegatives(self.values.to(device), self.weights.to(device))


def perpendicular(x: Tensor, y: Tensor) -> Tensor:
    """X - y <x, y> / <y, y>: the part of x (N, ...) at right angles to y (N, ...), per particle; x where y is 0."""
    over = tuple(range(1, x.ndim))
    squared = (y * y).sum(over, keepdim=True).clamp_min(torch.finfo(y.dtype).tiny)
    return x - y * ((x * y).sum(over, keepdim=True) / squared)


def perp_neg_condition(condition: Tensor, unconditional: Tensor, negatives: WeightedNegatives) -> Tensor:
    """d_c + sum_k weight_k perpendicular(eps_k - eps_u, d_c), which takes the place of d_c in guidance.

    Args:
        condition: d_c = eps_c - eps_u, (N, ...).
        unconditional: eps_u, (N, ...).
        negatives: eps_k and their weights.
    """
    steered = condition
    for negative, weight in zip(negatives.values.unbind(1), negatives.weights.unbind(1), strict=True):
        weight = weight.reshape(-1, *[1] * (condition.ndim - 1))
        steered = steered + weight * perpendicular(negative - unconditional, condition)
    return steered
