"""Potentials U_i whose descent moves particles apart, by the name that `RepulsiveForce(form=...)` takes.

Each function takes features (..., N, D) of ensembles of N particles, a kernel, and whether the sum over j includes
j = i. It returns one potential per particle, (..., N). The force on particle i is the gradient of sum_i U_i with
respect to f_i. All but `order_two` hold the features of the other particles constant.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .kernels import RBFKernel, squared_distances

Potential = Callable[[Tensor, RBFKernel, bool], Tensor]


def log_sum(features: Tensor, kernel: RBFKernel, include_self: bool = False) -> Tensor:
    """U_i = log sum_{j != i} k_ij, eq. (15).

    With `include_self`, the sum includes k_ii = 1, as eq. (15) prints it: the force then fades as particles move
    far apart.
    """
    log_kernel, own = _log_kernel(features, kernel)
    return log_kernel.masked_fill(own, 0.0 if include_self else -torch.inf).logsumexp(-1)


def sum_log(features: Tensor, kernel: RBFKernel, include_self: bool = False) -> Tensor:
    """U_i = sum_{j != i} log k_ij, eq. (8). `include_self` changes nothing, since log k_ii = 0."""
    log_kernel, own = _log_kernel(features, kernel)
    return log_kernel.masked_fill(own, 0.0).sum(-1)


def plain_sum(features: Tensor, kernel: RBFKernel, include_self: bool = False) -> Tensor:
    """U_i = sum_{j != i} k_ij, the repulsion of SVGD, eq. (36). `include_self` adds the constant k_ii = 1."""
    log_kernel, own = _log_kernel(features, kernel)
    return log_kernel.exp().masked_fill(own, float(include_self)).sum(-1)


def order_two(features: Tensor, kernel: RBFKernel, include_self: bool = True) -> Tensor:
    """U_i = -H_2 = log mean_ij k_ij^2, the same for every particle; the sum always includes j = i.

    H_2 is the order-2 Renyi entropy of the eigenvalues of K / N, and exp(H_2) the order-2 Vendi score, also called RKE.
    SPARKE (Jalali et al., 2025, arXiv 2506.10173) guides samplers with its gradient. The potential is shared by all
    particles, so a close pair is separated before a distant one. The gradient of H_2 shrinks like 1 / N; the sum over
    the N equal potentials makes up for it, so that the repulsion weight acts alike for every N.
    """
    n = features.shape[-2]
    log_kernel = kernel.log(squared_distances(features, features))
    log_mean = (2 * log_kernel).flatten(-2).logsumexp(-1) - 2 * math.log(n)
    return log_mean[..., None].expand(features.shape[:-1])


POTENTIALS: dict[str, Potential] = {
    "log_sum": log_sum,
    "sum_log": sum_log,
    "sum": plain_sum,
    "order_two": order_two,
}


def _log_kernel(features: Tensor, kernel: RBFKernel) -> tuple[Tensor, Tensor]:
    """Logarithm of k_ij with every f_j held constant, (..., N, N), and a mask of its diagonal, (N, N)."""
    n = features.shape[-2]
    log_kernel = kernel.log(squared_distances(features, features.detach()))
    return log_kernel, torch.eye(n, dtype=torch.bool, device=features.device)
