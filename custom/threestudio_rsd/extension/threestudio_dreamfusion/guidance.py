"""`stable-diffusion-guidance` and `deep-floyd-guidance`: DreamFusion's SDS as threestudio defines it.

It differs from `repulsive-sds-guidance` in the scale of the prompt, which is s in text + s (text - unconditional), so
w = s + 1 in eq. (24), but w = s with Perp-Neg; in each view's timestep of its own; in a sample from the VAE's
posterior; in random numbers from torch's global generator; and in a loss that is divided by the number of views.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...distillation import loss_with_gradient, timestep_weight
from ...errors import UserError, one_of
from ...host import BaseObject, C, info, register, warn
from ...priors import PromptEmbedding
from ..prior_config import PriorConfig, configured_prior
from ..prompt_embedding import embedding_of_views

# threestudio's default models. Its runwayml/stable-diffusion-v1-5 has moved to this repository.
STABLE_DIFFUSION = "stable-diffusion-v1-5/stable-diffusion-v1-5"
DEEP_FLOYD = "DeepFloyd/IF-I-XL-v1.0"
WEIGHTINGS = ("sds", "uniform", "fantasia3d")


class ScoreDistillationGuidance(BaseObject):
    """SDS of a batch of views.

    Raises:
        UserError: an impossible config value, something that needs threestudio, or a model that cannot be loaded.
    """

    @dataclass
    class Config(BaseObject.Config):
        pretrained_model_name_or_path: str = ""  # a diffusers folder or a hub id
        # Memory.
        enable_memory_efficient_attention: bool = False  # PyTorch 2 always has it
        enable_sequential_cpu_offload: bool = False  # is not done here
        enable_attention_slicing: bool = False
        enable_channels_last_format: bool = False
        half_precision_weights: bool = True  # float16 on a GPU; a CPU runs float32 in any case
        # Score distillation.
        guidance_scale: float = 100.0  # s of text + s (text - unconditional)
        grad_clip: Any | None = None  # largest |gradient| per value; number or schedule
        min_step_percent: Any = 0.02  # lowest t / T; number or schedule
        max_step_percent: Any = 0.98  # highest t / T; number or schedule
        weighting_strategy: str = "sds"  # w(t): sds, uniform, fantasia3d
        view_dependent_prompting: bool = True
        max_items_eval: int = 4  # of threestudio's debugging pictures, which are not made here

    cfg: Any  # Config
    prior_type = ""

    def configure(self) -> None:
        cfg = self.cfg
        one_of("weighting_strategy", cfg.weighting_strategy, WEIGHTINGS)
        self.prior = self._load_prior()
        self.update_step(0, 0)
        info(f"SDS guidance on {self.prior.fingerprint}")

    def _load_prior(self) -> Any:
        cfg = self.cfg
        if cfg.half_precision_weights and self.device.type != "cuda":
            warn("half_precision_weights=True needs a GPU; this run's prior computes in 32 bits.")
        if cfg.enable_sequential_cpu_offload:
            warn("enable_sequential_cpu_offload=True needs threestudio; here the weights stay on their device.")
        prior = configured_prior(
            PriorConfig(
                prior_type=self.prior_type,
                pretrained_model_name_or_path=cfg.pretrained_model_name_or_path,
                half_precision_weights=cfg.half_precision_weights,
            )
        )
        if cfg.enable_attention_slicing:
            prior.unet.set_attention_slice(1)
        if cfg.enable_channels_last_format:
            prior.unet.to(memory_format=torch.channels_last)
        return prior

    def update_step(self, epoch: int, global_step: int, on_load_weights: bool = False) -> None:
        """Value of every schedule at this step."""
        low, high = self._noise_interval(epoch, global_step)
        if not 0 <= low <= high <= 1:
            raise UserError(
                f"min_step_percent={low} and max_step_percent={high} are impossible; accepted: numbers from 0 to 1, "
                "the first not above the second."
            )
        steps = self.prior.num_train_timesteps
        self.min_step, self.max_step = int(steps * low), min(int(steps * high), steps - 1)
        self.grad_clip = None if self.cfg.grad_clip is None else C(self.cfg.grad_clip, epoch, global_step)

    def _noise_interval(self, epoch: int, global_step: int) -> tuple[float, float]:
        """Lowest and highest t / T."""
        low, high = (C(value, epoch, global_step) for value in (self.cfg.min_step_percent, self.cfg.max_step_percent))
        return low, high

    def __call__(
        self,
        rgb: Tensor,
        prompt_utils: Any,
        elevation: Tensor,
        azimuth: Tensor,
        camera_distances: Tensor,
        rgb_as_latents: bool = False,
        **batch: Any,
    ) -> dict[str, Any]:
        """Loss of a batch of views.

        Args:
            rgb: images (B, H, W, 3) in [0, 1], or with `rgb_as_latents` latents (B, H, W, C).
            prompt_utils: what the prompt processor returned.
            elevation, azimuth (degrees), camera_distances: (B,), of the views.

        Returns:
            `loss_sds`, and numbers to log.

        Raises:
            UserError: Perp-Neg for prompts that do not name the direction of view, or latents where there are none.
        """
        embedding = embedding_of_views(
            prompt_utils,
            elevation,
            azimuth,
            camera_distances,
            self.cfg.view_dependent_prompting,
            device=self.prior.device,
        )
        with torch.autocast(rgb.device.type, enabled=False):  # the prior has the precision of its weights
            latents = self.latents(rgb.permute(0, 3, 1, 2).float(), rgb_as_latents)
            t = torch.randint(self.min_step, self.max_step + 1, [len(latents)], device=latents.device)
            gradient = self.gradient(latents.detach(), t, embedding)
            loss = loss_with_gradient(latents, gradient) / len(latents)
        return {
            "loss_sds": loss,
            "grad_norm": gradient.norm(),
            "min_step": self.min_step,
            "max_step": self.max_step,
        }

    def latents(self, images: Tensor, are_latents: bool = False) -> Tensor:
        """Images (B, 3, H, W) in [0, 1], or latents of any size, as the prior's particles (B, ...)."""
        raise NotImplementedError

    def gradient(self, x_0: Tensor, t: Tensor, embedding: PromptEmbedding) -> Tensor:
        """w(t) (eps_w(x_t) - noise) for particles x_0 (B, ...) and timesteps (B,), each value bounded: (B, ...)."""
        prior = self.prior
        alpha, sigma = prior.alpha(t), prior.sigma(t)
        noise = torch.randn_like(x_0)
        predictions = prior.noise_predictions(alpha * x_0 + sigma * noise, t, embedding)
        # threestudio's own two conventions: text + s (text - unconditional), but unconditional + s (...) with Perp-Neg.
        scale = self.cfg.guidance_scale + (1 if embedding.perp_neg is None else 0)
        direction = predictions.guided(scale) - noise
        gradient = torch.nan_to_num(timestep_weight(self.cfg.weighting_strategy, alpha, sigma) * direction)
        return gradient if self.grad_clip is None else gradient.clamp(-self.grad_clip, self.grad_clip)


def _resized(images: Tensor, size: int) -> Tensor:
    """Images (B, C, H, W) at (size, size), as threestudio resizes: without a filter against aliasing."""
    return F.interpolate(images, (size, size), mode="bilinear", align_corners=False)


@register("stable-diffusion-guidance")
class StableDiffusionGuidance(ScoreDistillationGuidance):
    """SDS in the latents of Stable Diffusion."""

    @dataclass
    class Config(ScoreDistillationGuidance.Config):
        pretrained_model_name_or_path: str = STABLE_DIFFUSION
        sqrt_anneal: bool = False  # one t, falling from max_step_percent with the root of the progress (HiFA)
        trainer_max_steps: int = 25000  # length of the run, for sqrt_anneal
        # threestudio's only: refused if on
        use_img_loss: bool = False
        use_sjc: bool = False
        var_red: bool = True  # of use_sjc
        token_merging: bool = False
        token_merging_params: dict | None = None

    cfg: Any  # Config
    prior_type = "stable-diffusion"

    def configure(self) -> None:
        for key in ("use_img_loss", "use_sjc", "token_merging"):
            if self.cfg[key]:
                raise UserError(f"{key}=True needs threestudio; without it the accepted value is False.")
        super().configure()

    def _noise_interval(self, epoch: int, global_step: int) -> tuple[float, float]:
        low, high = super()._noise_interval(epoch, global_step)
        if not self.cfg.sqrt_anneal:
            return low, high
        progress = min(global_step / self.cfg.trainer_max_steps, 1.0)
        share = low + (high - low) * (1 - progress**0.5)
        return share, share

    def latents(self, images: Tensor, are_latents: bool = False) -> Tensor:
        """See `ScoreDistillationGuidance.latents`; a sample from the VAE's posterior."""
        prior = self.prior
        if are_latents:
            return _resized(images, prior.latent_shape[-1])
        posterior = prior.posterior(_resized(images, prior.image_size))
        return posterior.sample().float() * prior.vae.config.scaling_factor


@register("deep-floyd-guidance")
class DeepFloydGuidance(ScoreDistillationGuidance):
    """SDS in the pixels of DeepFloyd IF."""

    @dataclass
    class Config(ScoreDistillationGuidance.Config):
        pretrained_model_name_or_path: str = DEEP_FLOYD
        enable_channels_last_format: bool = True
        guidance_scale: float = 20.0

    cfg: Any  # Config
    prior_type = "deep-floyd"

    def latents(self, images: Tensor, are_latents: bool = False) -> Tensor:
        """See `ScoreDistillationGuidance.latents`. Raises UserError for latents."""
        if are_latents:
            raise UserError("rgb_as_latents=True is impossible: DeepFloyd IF has no latents; accepted: False.")
        return self.prior.encode(_resized(images, self.prior.image_size))
