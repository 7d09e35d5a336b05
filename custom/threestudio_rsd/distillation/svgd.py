"""Stein variational gradient descent on score distillation (Liu & Wang, 2016; eq. 36; what CSD uses)."""

import torch
from torch import Tensor

from ..errors import one_of
from ..priors import Prior
from ..repulsion import RepulsiveForce
from .method import Method, Step
from .nfsd import NFSD
from .sds import SDS

BASES = {"sds": SDS, "nfsd": NFSD}


def svgd_direction(directions: Tensor, kernel: Tensor, repulsion: Tensor, sigma: Tensor) -> Tensor:
    """Direction that SVGD descends: mean over j of k_ij d_j + sigma_t * gradient_i k_ij.

    The score is -d / sigma_t up to zero-mean noise, hence the sigma_t before the repulsion.

    Args:
        directions: d_j of the base method, (N, ...).
        kernel: k_ij, (N, N), ones on the diagonal.
        repulsion: gradient of sum_{j != i} k_ij with respect to particle i, (N, ...).
        sigma: sigma_t, broadcastable.
    """
    attraction = torch.einsum("ij,j...->i...", kernel.to(directions.dtype), directions)
    return (attraction + sigma * repulsion) / len(directions)


class SVGD(Method):
    """Every particle follows the kernel-weighted mean of all directions, plus SVGD's own repulsion; no extra force.

    Args:
        prior, guidance_scale: see `Method`.
        force: RepulsiveForce of form `sum`, on x_t; None: Euclidean RBF, as in CSD.
        base: `nfsd` (the paper's Fig. 5) or `sds`.

    Raises:
        UserError: an unknown base, or a force of another form.
    """

    def __init__(
        self, prior: Prior, guidance_scale: float = 7.5, force: RepulsiveForce | None = None, base: str = "nfsd"
    ) -> None:
        super().__init__(prior, guidance_scale)
        one_of("base", base, tuple(BASES))
        self.force = force or RepulsiveForce("euclidean", form="sum")
        one_of("force.form", self.force.form, ("sum",))
        self.base = BASES[base](prior, guidance_scale)
        self.needs_negative = self.base.needs_negative

    def direction(self, step: Step) -> Tensor:
        """See `Method.direction`."""
        directions = self.base.direction(step)
        return svgd_direction(
            directions, self.force.kernel_matrix(step.x_t), self.force(step.x_t), self.prior.sigma(step.t)
        )
