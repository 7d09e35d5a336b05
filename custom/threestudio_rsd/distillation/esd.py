"""Entropic score distillation (Wang et al., 2024, Taming Mode Collapse in Score Distillation, arXiv 2401.00909)."""

import torch
from torch import Tensor

from ..errors import in_range
from ..priors import Prior
from .method import Step
from .vsd import VSD


def esd_direction(guided: Tensor, marginal: Tensor, conditional: Tensor, entropy_weight: float) -> Tensor:
    """Direction that ESD descends: eps_w - [lambda eps_phi(x_t) + (1 - lambda) eps_phi(x_t | c)].

    It is the direction of lambda KL(q(x_t) || p(x_t)) + (1 - lambda) E_c KL(q(x_t | c) || p(x_t)). This sum equals the
    mean KL minus lambda times the difference between the entropy of all views together and the mean entropy of a view.

    Args:
        guided: eps_w, guided noise prediction of the prior, (N, ...).
        marginal: noise prediction for q(x_t), the distribution of all noised images, (N, ...).
        conditional: noise prediction for q(x_t | c), the distribution of the noised images under the condition c,
            (N, ...).
        entropy_weight: lambda.

    Returns:
        (N, ...)
    """
    return guided - (entropy_weight * marginal + (1 - entropy_weight) * conditional)


class ESD(VSD):
    """Entropic score distillation: VSD with a term that keeps the entropy of all images together high.

    With cameras, c is the camera, as in the paper: eps_phi(x_t) is the prediction without camera (zeros), and lambda is
    1 - `guidance_scale_lora` of `VSD`, the setting that the authors' code has.

    In 2D there are no cameras, and c is the particle itself: q(x_t | particle) = N(alpha_t x_0, sigma_t^2), whose noise
    prediction is the noise that was drawn. So ESD reduces to eps_w - [lambda eps_phi(x_t) + (1 - lambda) noise].
    lambda = 0 is SDS, in which every particle seeks its own mode, and lambda = 1 is VSD, in which the entropy of the
    ensemble counts in full.

    Args:
        prior: see `Method`.
        guidance_scale: see `Method`.
        entropy_weight: lambda in [0, 1]; 0.5 is the authors' example.
        network: see `VSD`.
        lora_rank: see `VSD`.
        unet_channels: see `VSD`.
        camera_condition: see `VSD`.

    Raises:
        UserError: entropy_weight outside [0, 1], or an argument that `VSD` does not accept.
    """

    def __init__(
        self,
        prior: Prior,
        guidance_scale: float = 7.5,
        entropy_weight: float = 0.5,
        network: str = "lora",
        lora_rank: int = 4,
        unet_channels: tuple[int, ...] | None = None,
        camera_condition: bool = False,
    ) -> None:
        in_range("entropy_weight", entropy_weight, 0.0, 1.0)
        super().__init__(prior, guidance_scale, network, lora_rank, unet_channels, camera_condition)
        self.entropy_weight = entropy_weight

    @torch.no_grad()
    def direction(self, step: Step) -> Tensor:
        """See `Method.direction`."""
        guided = step.predictions.guided(self.guidance_scale)
        if step.cameras is None:
            marginal = self.predict_noise(step.x_t, step.t, step.embedding)
            return esd_direction(guided, marginal, step.noise, self.entropy_weight)
        embedding, cameras = step.cameras.embedding, step.cameras.matrices
        marginal = self.predict_noise(step.x_t, step.t, embedding, torch.zeros_like(cameras))
        conditional = self.predict_noise(step.x_t, step.t, embedding, cameras)
        return esd_direction(guided, marginal, conditional, self.entropy_weight)
