"""Kernels between the particles' features (section 6.1; Liu & Wang, 2016, for the bandwidth)."""

import math

import torch
from torch import Tensor

from ..errors import UserError


def squared_distances(features: Tensor, others: Tensor) -> Tensor:
    """Squared Euclidean distances |f_i - g_j|^2, (..., N, D) and (..., M, D) -> (..., N, M).

    Written as differences, not as |f|^2 + |g|^2 - 2 f.g: near-identical particles would lose all their digits.
    """
    return (features.unsqueeze(-2) - others.unsqueeze(-3)).square().sum(-1)


class RBFKernel:
    """k(f_i, f_j) = exp(-|f_i - f_j|^2 / h).

    Args:
        bandwidth: h itself, a positive number in squared feature units; or "median": h = m^2 / log N with m the
            median of the pairwise distances i != j, recomputed in each step (section 6.1).

    Raises:
        UserError: another bandwidth.
    """

    def __init__(self, bandwidth: float | str = "median") -> None:
        is_number = isinstance(bandwidth, (int, float)) and not isinstance(bandwidth, bool)
        if bandwidth != "median" and not (is_number and 0 < float(bandwidth) < math.inf):
            raise UserError(f"bandwidth={bandwidth!r} is impossible; accepted: 'median' or a positive number.")
        self.bandwidth = bandwidth

    def h(self, squared: Tensor) -> Tensor:
        """Bandwidth, a constant for the gradient: (..., N, N) squared distances of one ensemble -> (..., 1, 1)."""
        n = squared.shape[-1]
        if self.bandwidth != "median":
            return squared.new_full((*squared.shape[:-2], 1, 1), float(self.bandwidth))
        if n < 2:
            return squared.new_ones(*squared.shape[:-2], 1, 1)
        i, j = torch.triu_indices(n, n, offset=1, device=squared.device)
        distances = squared.detach()[..., i, j].sqrt()
        median = _median(distances)
        # More than half of the pairs coincide: the mean still sets a scale, and where all do, any scale gives no force.
        scale = torch.where(median > 0, median, distances.mean(-1))
        scale = torch.where(scale > 0, scale, torch.ones_like(scale))
        return (scale.square() / math.log(n))[..., None, None]

    def log(self, squared: Tensor) -> Tensor:
        """Log k, (..., N, N) like the squared distances of one ensemble."""
        return -squared / self.h(squared)


def _median(values: Tensor) -> Tensor:
    """Median over the last axis, the mean of the two middle values where their number is even."""
    ordered = values.sort(-1).values
    count = values.shape[-1]
    return (ordered[..., (count - 1) // 2] + ordered[..., count // 2]) / 2
