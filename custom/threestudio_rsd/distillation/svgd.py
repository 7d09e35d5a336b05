"""Stein variational gradient descent on score distillation (Liu & Wang, 2016; eq. 36), as CSD uses it."""

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

    The score is -d / sigma_t up to zero-mean noise, hence the factor sigma_t of the repulsion.

    Args:
        directions: d_j of the base method, (N, ...).
        kernel: k_ij, (N, N), ones on the diagonal.
        repulsion: gradient of sum_{j != i} k_ij with respect to particle i, (N, ...).
        sigma: sigma_t, broadcastable.

    Returns:
        (N, ...)

    Example:
        >>> directions, repulsion = torch.tensor([[1.0], [3.0]]), torch.zeros(2, 1)
        >>> svgd_direction(directions, torch.ones(2, 2), repulsion, torch.tensor(0.5))  # equal particles: the mean
        tensor([[2.],
                [2.]])
        >>> svgd_direction(directions, torch.eye(2), repulsion, torch.tensor(0.5))  # distant particles: d_i / N
        tensor([[0.5000],
                [1.5000]])
    """
    attraction = torch.einsum("ij,j...->i...", kernel.to(directions.dtype), directions)
    return (attraction + sigma * repulsion) / len(directions)


class SVGD(Method):
    """Stein variational gradient descent: every particle follows the kernel-weighted mean of all directions.

    Its own repulsion is part of the direction, so it needs no extra force.

    Args:
        prior: see `Method`.
        guidance_scale: see `Method`.
        force: RepulsiveForce of form `sum`, on x_t; None: Euclidean RBF, as in CSD.
        base: method that gives the directions: `nfsd` (the paper's Fig. 5) or `sds`.

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
        kernel, repulsion = self.force.kernel_matrix(step.x_t), self.force(step.x_t)
        return svgd_direction(self.base.direction(step), kernel, repulsion, self.prior.sigma(step.t))
