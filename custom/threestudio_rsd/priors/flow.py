"""Flow matching: priors with x_t = (1 - s) x_0 + s noise, whose network predicts the velocity noise - x_0.

The flow time s in [0, 1] of a timestep t comes from the scheduler; noise level and estimates follow from it (Lipman et
al., 2023, arXiv 2210.02747; Esser et al., 2024, arXiv 2403.03206).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import UserError
from .base import NoisePredictions, Prior, PromptEmbedding


class FlowPrior(Prior):
    """Base class of flow-matching priors: alpha_t = 1 - s_t, sigma_t = s_t, D = x_t - s_t v, eps = x_t + alpha_t v.

    Timesteps are integers that index a table of flow times. At the last one s = 1 and alpha = 0: x_t is pure noise, and
    `predict_clean` is still defined.

    Args:
        flow_times: s_t for each t, rising, (T,).
        latent_shape: shape of one particle.

    Raises:
        UserError: flow times outside (0, 1], or not rising.
    """

    denoises_pure_noise = True
    skips_unit_guidance = True
    flow_times: Tensor
    rescale_velocity: Callable[[Tensor, Tensor], Tensor] | None = None  # of the guided and the conditional velocity

    def __init__(self, flow_times: Tensor, latent_shape: tuple[int, ...]) -> None:
        super().__init__()
        if not (((flow_times > 0) & (flow_times <= 1)).all() and (flow_times.diff() > 0).all() and len(flow_times) > 1):
            raise UserError("flow_times is impossible; accepted: rising numbers in (0, 1], at least two.")
        self.register_buffer("flow_times", flow_times.float())
        self.num_train_timesteps = len(flow_times)
        self.latent_shape = tuple(latent_shape)

    def alpha(self, t: int | Tensor) -> Tensor:
        """See `Prior.alpha`."""
        return 1 - self.sigma(t)

    def sigma(self, t: int | Tensor) -> Tensor:
        """See `Prior.sigma`."""
        level = self.flow_times[t]
        return level if level.ndim == 0 else level.reshape(-1, *[1] * len(self.latent_shape))

    def velocity(self, x_t: Tensor, flow_time: Tensor, text: Tensor) -> Tensor:
        """The network's prediction of noise - x_0, differentiable.

        Args:
            x_t: noisy particles, (N, ...).
            flow_time: s of each particle, (N,).
            text: text embeddings, (N, L, D).

        Returns:
            (N, ...) in any precision.
        """
        raise NotImplementedError

    def raw_velocity(self, x_t: Tensor, t: int | Tensor, text: Tensor) -> Tensor:
        """`velocity` at a timestep, in single precision, counted in `network_calls`."""
        self.network_calls += len(x_t)
        return self.velocity(x_t, self.flow_times[t].expand(len(x_t)), text).float()

    def raw_predict(self, x_t: Tensor, t: int | Tensor, text: Tensor) -> Tensor:
        """See `Prior.raw_predict`."""
        return x_t + self.alpha(t) * self.raw_velocity(x_t, t, text)

    @torch.no_grad()
    def noise_predictions(
        self,
        x_t: Tensor,
        t: int | Tensor,
        embedding: PromptEmbedding,
        negative: bool = False,
        unconditional: bool = True,
    ) -> NoisePredictions:
        """See `Prior.noise_predictions`."""
        predictions = super().noise_predictions(x_t, t, embedding, negative, unconditional)
        rescale, alpha = self.rescale_velocity, self.alpha(t)
        if rescale is not None:
            # guided velocities only: where alpha = 0 all predictions equal x_t
            scale = alpha.where(alpha > 0, torch.inf)
            predictions.rescale = lambda guided, conditional: (
                x_t + alpha * rescale((guided - x_t) / scale, (conditional - x_t) / scale)
            )
        return predictions

    @torch.no_grad()
    def predict_clean(
        self, x_t: Tensor, t: int | Tensor, embedding: PromptEmbedding, guidance_scale: float = 7.5
    ) -> Tensor:
        """See `Prior.predict_clean`; defined at every timestep."""
        self._check(x_t, t)
        needs_both = guidance_scale != 1 or embedding.perp_neg is not None
        velocities = self._for_prompts(self.raw_velocity, x_t, t, embedding, unconditional=needs_both)
        velocities.rescale = self.rescale_velocity
        return x_t - self.sigma(t) * velocities.guided(guidance_scale)
