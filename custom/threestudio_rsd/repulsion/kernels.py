"""Kernels that compare particles by their features (section 6.1; Liu & Wang, 2016, for the bandwidth)."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..errors import UserError

BLOCK = 2**18  # differences in memory at once


def squared_distances(features: Tensor, others: Tensor) -> Tensor:
    """Squared Euclidean distances |f_i - g_j|^2.

    Computed from differences, not as |f|^2 + |g|^2 - 2 f.g, which would lose all digits for nearly equal particles.

    Args:
        features: f, (..., N, D).
        others: g, (..., M, D).

    Returns:
        (..., N, M)

    Example:
        >>> x = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
        >>> squared_distances(x, x)
        tensor([[ 0., 25.],
                [25.,  0.]])
    """
    if others.requires_grad or features.shape[-2] * others.numel() <= BLOCK:
        return (features.unsqueeze(-2) - others.unsqueeze(-3)).square().sum(-1)
    distances: Tensor = _InBlocks.apply(features, others)  # type: ignore[no-untyped-call]
    return distances


class _InBlocks(torch.autograd.Function):
    """Squared distances of some rows at a time, so that not all N M D differences are in memory."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, others: Tensor) -> Tensor:
        ctx.save_for_backward(features, others)
        parts = _row_blocks(features, others)
        return torch.cat([(part.unsqueeze(-2) - others.unsqueeze(-3)).square().sum(-1) for part in parts], -2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        features, others = ctx.saved_tensors
        parts = _row_blocks(features, others)
        weights = gradient.split([part.shape[-2] for part in parts], -2)
        found = [
            (weight.unsqueeze(-1) * (2 * (part.unsqueeze(-2) - others.unsqueeze(-3)))).sum(-2)
            for part, weight in zip(parts, weights, strict=True)
        ]
        return torch.cat(found, -2), None


def _row_blocks(features: Tensor, others: Tensor) -> tuple[Tensor, ...]:
    blocks: tuple[Tensor, ...] = features.split(max(1, BLOCK // others.numel()), -2)
    return blocks


class RBFKernel:
    """Gaussian kernel k(f_i, f_j) = exp(-|f_i - f_j|^2 / h).

    Args:
        bandwidth: h itself, a positive number in squared feature units; or "median": h = m^2 / log N with m the
            median of the pairwise distances i != j, computed anew in each step (section 6.1).

    Raises:
        UserError: the bandwidth is neither "median" nor a positive number.

    Example:
        >>> x = torch.tensor([[0.0], [1.0], [3.0]])
        >>> squared = squared_distances(x, x)
        >>> RBFKernel(bandwidth=2.0).log(squared).exp()
        tensor([[1.0000, 0.6065, 0.0111],
                [0.6065, 1.0000, 0.1353],
                [0.0111, 0.1353, 1.0000]])
        >>> RBFKernel("median").h(squared)  # the distances are 1, 2 and 3, so h = 2^2 / log 3
        tensor([[3.6410]])
    """

    def __init__(self, bandwidth: float | str = "median") -> None:
        is_number = isinstance(bandwidth, (int, float)) and not isinstance(bandwidth, bool)
        if bandwidth != "median" and not (is_number and 0 < float(bandwidth) < math.inf):
            raise UserError(f"bandwidth={bandwidth!r} is impossible; accepted: 'median' or a positive number.")
        self.bandwidth = bandwidth

    def h(self, squared: Tensor) -> Tensor:
        """Bandwidth of each ensemble, constant for the gradient.

        Args:
            squared: squared distances within each ensemble, (..., N, N).

        Returns:
            (..., 1, 1)
        """
        n = squared.shape[-1]
        if self.bandwidth != "median":
            return squared.new_full((*squared.shape[:-2], 1, 1), float(self.bandwidth))
        if n < 2:
            return squared.new_ones(*squared.shape[:-2], 1, 1)
        i, j = torch.triu_indices(n, n, offset=1, device=squared.device)
        distances = squared.detach()[..., i, j].sqrt()
        median = _median(distances)
        # The median is 0 where most pairs coincide; the mean then sets the scale. Where all pairs coincide the force is
        # zero at any scale.
        scale = torch.where(median > 0, median, distances.mean(-1))
        scale = torch.where(scale > 0, scale, torch.ones_like(scale))
        return (scale.square() / math.log(n))[..., None, None]

    def log(self, squared: Tensor) -> Tensor:
        """Logarithm of the kernel.

        Args:
            squared: squared distances within each ensemble, (..., N, N).

        Returns:
            log k, (..., N, N)
        """
        return -squared / self.h(squared)


def _median(values: Tensor) -> Tensor:
    """Median over the last axis: the mean of the two middle values where their number is even."""
    ordered = values.sort(-1).values
    count = values.shape[-1]
    return (ordered[..., (count - 1) // 2] + ordered[..., count // 2]) / 2
