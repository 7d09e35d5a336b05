"""Repulsive score distillation: base method plus force (Alg. 1, with the sign that repels)."""

import math
from dataclasses import dataclass

from torch import Tensor

from ..errors import UserError, one_of
from ..finite import note
from ..particles.ranks import Shard
from ..priors import PromptEmbedding
from ..priors.noise_levels import NoiseLevelInterval, check_signal, is_inside, noise_level
from ..repulsion import RepulsiveForce
from .kernel_input import KERNEL_INPUTS, select_kernel_input
from .method import CameraCondition, Method, Step
from .sds import SDS
from .weights import EXACT, WEIGHTS, exact_step, force_scale, timestep_weight


@dataclass
class RepulsiveGradient:
    """Result of one step of RSD.

    Attributes:
        gradient: gradient to descend, (N, ...).
        direction: direction of the base method, (N, ...).
        force: repulsive force R, (N, ...); None where no force acted.
    """

    gradient: Tensor
    direction: Tensor
    force: Tensor | None


class RepulsiveDistillation:
    """Gradient of repulsive score distillation: grad_i = w(t) (direction_i + gamma s(t) R_i), to be DESCENDED.

    Args:
        method: base method.
        force: the repulsion; None: the base method alone.
        kernel_input: input of the force: `noisy` x_t (the paper), `clean` x_0, or `denoised`, the one-step estimate
            (x_t - sigma_t eps_c) / alpha_t; see `select_kernel_input`.
        weighting_strategy: w(t), see `timestep_weight`, or `exact`, see `exact_step`.
        force_scale: s(t), see `force_scale`.
        guidance_interval: noise levels at which classifier-free guidance acts; elsewhere only the prediction for the
            prompt is made. None: all levels.
        force_interval: noise levels at which the force acts; elsewhere its networks do not run. None: all levels.

    Raises:
        UserError: an unknown option.

    Example:
        >>> import torch
        >>> from threestudio_rsd.distillation import SDS
        >>> from threestudio_rsd.priors import GaussianMixturePrior
        >>> prior = GaussianMixturePrior(means=torch.tensor([[-1.0], [1.0]]), variances=torch.full((2,), 0.01),
        ...                              weights=torch.ones(2))
        >>> distillation = RepulsiveDistillation(SDS(prior), RepulsiveForce("euclidean"), kernel_input="clean")
        >>> x, _ = torch.tensor([[0.1], [0.2]]), torch.manual_seed(0)
        >>> for step in range(200):
        ...     t, noise = 980 - 4 * step, torch.randn(2, 1)
        ...     x = x - 0.3 * distillation(x, t, noise, prior.embed(), gamma=1.0).gradient
        >>> x.round()  # both particles start closer to the mode at 1, and one ends in each mode
        tensor([[-1.],
                [ 1.]])
    """

    def __init__(
        self,
        method: Method,
        force: RepulsiveForce | None = None,
        kernel_input: str = "noisy",
        weighting_strategy: str = "sds",
        force_scale: str = "sigma",
        guidance_interval: NoiseLevelInterval | None = None,
        force_interval: NoiseLevelInterval | None = None,
    ) -> None:
        one_of("kernel_input", kernel_input, KERNEL_INPUTS)
        one_of("weighting_strategy", weighting_strategy, (*WEIGHTS, EXACT))
        self.method = method
        self.force = force
        self.kernel_input = kernel_input
        self.weighting_strategy = weighting_strategy
        self.force_scale = force_scale
        self.guidance_interval = guidance_interval
        self.force_interval = force_interval

    def __call__(
        self,
        x_0: Tensor,
        t: int | Tensor,
        noise: Tensor,
        embedding: PromptEmbedding,
        gamma: float | Tensor = 0.0,
        cameras: CameraCondition | None = None,
        views_per_particle: int = 1,
        t_next: int | None = None,
        force: Tensor | None = None,
        shard: Shard | None = None,
    ) -> RepulsiveGradient:
        """Gradient for an ensemble of particles.

        Args:
            x_0: particles (N, ...). With `views_per_particle` = V, V views of each particle, (N V, ...), one particle
                after the other.
            t: timestep, an int for all particles, or one for each row, (N V,).
            noise: standard normal noise, like x_0.
            embedding: the prompt.
            gamma: repulsion weight, a number or a tensor broadcastable against x_0; the number 0 runs neither decoder
                nor feature network.
            cameras: cameras of the views, for a base method whose own network takes them.
            views_per_particle: V. The force compares view i of a particle with view i of the others only.
            t_next: timestep of the next step, for `weighting_strategy="exact"`; None: this is the last step.
            force: R of an earlier step to be used again, like x_0; None: it is computed.
            shard: particles of this rank, where x_0 holds those of one rank; None: x_0 holds all.

        Returns:
            Gradient, direction and force, each like x_0.
        """
        prior = self.method.prior
        x_0 = x_0.detach()
        if self.weighting_strategy == EXACT and math.isinf(noise_level(prior, int(t))):
            return self._from_pure_noise(x_0, int(t), noise, embedding)
        if self.kernel_input == "denoised" or self.weighting_strategy == "snr":
            check_signal(prior, t, "kernel_input='denoised' or weighting_strategy='snr'")
        alpha, sigma = prior.alpha(t), prior.sigma(t)
        x_t = alpha * x_0 + sigma * noise
        predictions = prior.noise_predictions(
            x_t, t, embedding, self.method.needs_negative, self._is_guided(t, embedding)
        )
        seen_by = predictions.conditional.unflatten(0, (-1, views_per_particle))
        note("the noise prediction", seen_by, t=t, lower="half_precision_weights")
        direction = self.method.direction(Step(x_0, x_t, t, noise, predictions, embedding, cameras))
        weight = self._weight(t, t_next, alpha, sigma)
        if self.force is None or not self.force_acts(gamma, t):
            return RepulsiveGradient(weight * direction, direction, None)
        if force is None:
            seen = select_kernel_input(self.kernel_input, x_0, x_t, predictions.conditional, alpha, sigma)
            force = force_by_view(self.force, seen, views_per_particle, shard)
        scale = gamma * force_scale(self.force_scale, alpha, sigma)
        return RepulsiveGradient(weight * (direction + scale * force), direction, force)

    def repulsion_gradient(
        self,
        images: Tensor,
        t: int | Tensor,
        gamma: float | Tensor,
        views_per_particle: int = 1,
        t_next: int | None = None,
        shard: Shard | None = None,
    ) -> tuple[Tensor, Tensor] | None:
        """Repulsive part w(t) gamma s(t) R of the gradient, for renders, which need no decoder.

        It takes the place of the force of `__call__`, whose `gamma` is then 0.

        Args:
            images: clean images (N V, 3, H, W), the input of the force.
            t: timestep.
            gamma: repulsion weight.
            views_per_particle: V.
            t_next: timestep of the next step.
            shard: see `__call__`.

        Returns:
            Gradient and force R, each like images; None where the force does not act.
        """
        if self.force is None or not self.force_acts(gamma, t):
            return None
        alpha, sigma = self.method.prior.alpha(t), self.method.prior.sigma(t)
        scale = self._weight(t, t_next, alpha, sigma) * gamma * force_scale(self.force_scale, alpha, sigma)
        force = force_by_view(self.force, images, views_per_particle, shard)
        return scale * force, force

    def _from_pure_noise(self, x_0: Tensor, t: int, noise: Tensor, embedding: PromptEmbedding) -> RepulsiveGradient:
        """Exact step where alpha_t = 0 and no particle has an influence: it leads to the estimate D, without force.

        Raises:
            UserError: the prior has no estimate there, or the base method is not SDS.
        """
        prior = self.method.prior
        if not prior.denoises_pure_noise or not isinstance(self.method, SDS):
            raise UserError(
                f"weighting_strategy='exact' starts from pure noise at t={t} with a flow-matching prior and SDS only; "
                "lower max_step_percent."
            )
        weight = self.method.guidance_scale if is_inside(self.guidance_interval, prior, t) else 1.0
        clean = prior.predict_clean(prior.sigma(t) * noise, t, embedding, weight)
        note("the one-step estimate", clean, t=t, lower="half_precision_weights")
        return RepulsiveGradient(x_0 - clean, x_0 - clean, None)

    def _is_guided(self, t: int | Tensor, embedding: PromptEmbedding) -> bool:
        """Whether the prediction without the prompt is needed."""
        if not is_inside(self.guidance_interval, self.method.prior, t):
            return False
        needless = self.method.prior.skips_unit_guidance and self.method.only_guided and embedding.perp_neg is None
        return not (needless and self.method.guidance_scale == 1)

    def _weight(self, t: int | Tensor, t_next: int | None, alpha: Tensor, sigma: Tensor) -> Tensor | float:
        """Weight w(t) of the whole gradient."""
        if self.weighting_strategy == EXACT:
            return exact_step(self.method.prior, int(t), t_next)
        return timestep_weight(self.weighting_strategy, alpha, sigma)

    def force_acts(self, gamma: float | Tensor, t: int | Tensor) -> bool:
        """Whether the force acts at a timestep; a tensor is not compared with 0, which would wait for the device."""
        return (isinstance(gamma, Tensor) or gamma != 0) and is_inside(self.force_interval, self.method.prior, t)


def loss_with_gradient(particles: Tensor, gradient: Tensor) -> Tensor:
    """Loss whose derivative in the particles is exactly `gradient`, for optimizers that differentiate a loss.

    Args:
        particles: any shape.
        gradient: like particles, a constant.

    Returns:
        Half the squared norm of `gradient`, scalar.

    Example:
        >>> import torch
        >>> x = torch.zeros(2, requires_grad=True)
        >>> loss_with_gradient(x, torch.tensor([3.0, 4.0])).backward()
        >>> x.grad
        tensor([3., 4.])
    """
    return (gradient * (particles - particles.detach())).sum() + 0.5 * gradient.square().sum()


def force_by_view(force: RepulsiveForce, x: Tensor, v: int, shard: Shard | None = None) -> Tensor:
    """Force on x (N V, ...), where view i of a particle is compared with view i of the others only.

    Args:
        force: the repulsion.
        x: V views of each particle, one particle after the other.
        v: V.
        shard: particles of this rank; None: x holds all particles.
    """
    if v == 1:
        return force(x, shard=shard)
    by_view = x.reshape(-1, v, *x.shape[1:]).transpose(0, 1)
    return force(by_view.flatten(0, 1), ensembles=v, shard=shard).view_as(by_view).transpose(0, 1).flatten(0, 1)
