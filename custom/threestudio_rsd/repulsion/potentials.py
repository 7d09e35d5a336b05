"""Repulsion by order-2 kernel entropy, which SPARKE guides samplers with (Jalali et al., 2025, arXiv 2506.10173)."""

import math
from collections.abc import Callable

from torch import Tensor, nn

from .force import RepulsiveForce
from .kernels import RBFKernel, squared_distances


class OrderTwoForce(RepulsiveForce):
    """R_i = N times the gradient of -H_2 with respect to particle i, where H_2 = -log mean_ij k(f_i, f_j)^2.

    H_2 is the order-2 Renyi entropy of the eigenvalues of K / N, and exp(H_2) the order-2 Vendi score, also called RKE.
    DESCENDING `+ gamma R_i` raises it: the particles move apart. Other than in `RepulsiveForce` one potential is shared
    by all, so that a pair close together is parted before one that is far. A gradient of it shrinks like 1 / N, hence
    the N: gamma means the same for every N. SPARKE adds this gradient to a sampler; here the optimizer takes it.

    Args:
        features, kernel, decode, chunk_size: see `RepulsiveForce`.

    Raises:
        UserError: an unknown feature network, chunk_size < 1.
    """

    def __init__(
        self,
        features: str | nn.Module | Callable[[Tensor], Tensor],
        kernel: RBFKernel | None = None,
        decode: Callable[[Tensor], Tensor] | None = None,
        chunk_size: int | None = None,
    ) -> None:
        super().__init__(features, kernel, decode, include_self=True, chunk_size=chunk_size)
        self.form = "order_two"

    def potential(self, features: Tensor) -> Tensor:
        """-N H_2 for features (..., N, D) -> (...); its gradient reaches f_i through row and column i."""
        n = features.shape[-2]
        log_kernel = self.kernel.log(squared_distances(features, features))
        return n * ((2 * log_kernel).flatten(-2).logsumexp(-1) - 2 * math.log(n))
