"""Entropic score distillation (Wang et al., 2024, Taming Mode Collapse in Score Distillation, arXiv 2401.00909)."""

import torch
from torch import Tensor

from ..errors import UserError
from ..priors import Prior
from .method import Step
from .vsd import VSD


def esd_direction(guided: Tensor, marginal: Tensor, conditional: Tensor, entropy_weight: float) -> Tensor:
    """Direction that ESD descends: eps_w - [lambda eps_phi(x_t) + (1 - lambda) eps_phi(x_t | c)].

    It is that of lambda KL(q(x_t) || p(x_t)) + (1 - lambda) E_c KL(q(x_t | c) || p(x_t)), which is the mean KL less
    lambda times what the entropy of all views together exceeds that of one.

    Args:
        guided: eps_w of the prior, (N, ...).
        marginal: noise prediction for q(x_t), the distribution of all noised images, (N, ...).
        conditional: noise prediction for q(x_t | c), that of the images under the condition c, (N, ...).
        entropy_weight: lambda.

    Returns:
        (N, ...)
    """
    return guided - (entropy_weight * marginal + (1 - entropy_weight) * conditional)


class ESD(VSD):
    """VSD in which eps_phi is guided against its condition, so that the images as a whole keep their entropy.

    With cameras c is the camera, as in the paper: eps_phi(x_t) is the prediction without camera (zeros), and lambda is
    1 - `guidance_scale_lora` of `VSD`, by which the authors' own runs set it.

    In 2D there are no cameras, and c is the particle itself. What is known of an image once its particle is known is
    all but the noise: q(x_t | particle) = N(alpha_t x_0, sigma_t^2), whose noise prediction is the noise that was
    drawn. So ESD reduces to eps_w - [lambda eps_phi(x_t) + (1 - lambda) noise]: lambda = 0 is SDS, in which every
    particle seeks its own mode, and lambda = 1 is VSD, in which the entropy of the ensemble counts in full.

    Args:
        prior, guidance_scale, network, lora_rank, unet_channels, camera_condition: see `VSD`.
        entropy_weight: lambda in [0, 1]; 0.5 is the authors' example.

    Raises:
        UserError: entropy_weight outside [0, 1], or what `VSD` refuses.
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
        if not 0 <= entropy_weight <= 1:
            raise UserError(f"entropy_weight={entropy_weight} is impossible; accepted: a number from 0 to 1.")
        super().__init__(prior, guidance_scale, network, lora_rank, unet_channels, camera_condition)
        self.entropy_weight = entropy_weight

    @torch.no_grad()
    def direction(self, step: Step) -> Tensor:
        """See `Method.direction`."""
        guided = step.predictions.guided(self.guidance_scale)
        if step.views is None:
            marginal = self.predict_noise(step.x_t, step.t, step.embedding)
            return esd_direction(guided, marginal, step.noise, self.entropy_weight)
        embedding, cameras = step.views.embedding, step.views.cameras
        marginal = self.predict_noise(step.x_t, step.t, embedding, torch.zeros_like(cameras))
        conditional = self.predict_noise(step.x_t, step.t, embedding, cameras)
        return esd_direction(guided, marginal, conditional, self.entropy_weight)
