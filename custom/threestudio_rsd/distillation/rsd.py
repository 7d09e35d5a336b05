"""Repulsive score distillation: base method plus force (Alg. 1, with the sign that repels)."""

from dataclasses import dataclass

from torch import Tensor

from ..errors import one_of
from ..priors import PromptEmbedding
from ..repulsion import RepulsiveForce
from .method import Method, Step, Views
from .weights import force_scale, timestep_weight

KERNEL_INPUTS = ("noisy", "clean", "denoised")


@dataclass
class RepulsiveGradient:
    """What one step of RSD computed, each (N, ...); `force` is None where no force acted."""

    gradient: Tensor
    direction: Tensor
    force: Tensor | None


class RepulsiveDistillation:
    """grad_i = w(t) (direction_i + gamma s(t) R_i), to be DESCENDED.

    Args:
        method: base method.
        force: the repulsion; None: the base method alone.
        kernel_input: what the force sees: `noisy` x_t (the paper), `clean` x_0, or `denoised`, the one-step estimate
            (x_t - sigma_t eps_c) / alpha_t with the noise prediction held fixed.
        weighting_strategy: w(t), see `timestep_weight`.
        force_scale: s(t), see `force_scale`.

    Raises:
        UserError: an unknown option.
    """

    def __init__(
        self,
        method: Method,
        force: RepulsiveForce | None = None,
        kernel_input: str = "noisy",
        weighting_strategy: str = "sds",
        force_scale: str = "sigma",
    ) -> None:
        one_of("kernel_input", kernel_input, KERNEL_INPUTS)
        self.method = method
        self.force = force
        self.kernel_input = kernel_input
        self.weighting_strategy = weighting_strategy
        self.force_scale = force_scale

    def __call__(
        self,
        x_0: Tensor,
        t: int | Tensor,
        noise: Tensor,
        embedding: PromptEmbedding,
        gamma: float | Tensor = 0.0,
        views: Views | None = None,
        views_per_particle: int = 1,
    ) -> RepulsiveGradient:
        """Gradient for particles x_0 (N, ...), noise like x_0, one t for all; gamma = 0 runs no decoder.

        With `views_per_particle` = V, x_0 (N V, ...) holds V views of each particle, one particle after the other; the
        force compares the particles within each view.
        """
        prior = self.method.prior
        x_0 = x_0.detach()
        alpha, sigma = prior.alpha(t), prior.sigma(t)
        x_t = alpha * x_0 + sigma * noise
        predictions = prior.noise_predictions(x_t, t, embedding, negative=self.method.needs_negative)
        direction = self.method.direction(Step(x_0, x_t, t, noise, predictions, embedding, views))
        weight = timestep_weight(self.weighting_strategy, alpha, sigma)
        if self.force is None or (not isinstance(gamma, Tensor) and gamma == 0):
            return RepulsiveGradient(weight * direction, direction, None)
        if self.kernel_input == "denoised":
            kernel_input = (x_t - sigma * predictions.conditional) / alpha
        else:
            kernel_input = x_t if self.kernel_input == "noisy" else x_0
        force = _force_by_view(self.force, kernel_input, views_per_particle)
        scale = gamma * force_scale(self.force_scale, alpha, sigma)
        return RepulsiveGradient(weight * (direction + scale * force), direction, force)


def _force_by_view(force: RepulsiveForce, x: Tensor, v: int) -> Tensor:
    """Force on x (N V, ...), in which view i of a particle meets view i of the others only."""
    if v == 1:
        return force(x)
    by_view = x.unflatten(0, (-1, v)).transpose(0, 1)
    return force(by_view.flatten(0, 1), ensembles=v).view_as(by_view).transpose(0, 1).flatten(0, 1)
