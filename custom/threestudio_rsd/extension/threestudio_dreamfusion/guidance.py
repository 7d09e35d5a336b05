"""`stable-diffusion-guidance` and `deep-floyd-guidance`: DreamFusion's SDS as threestudio defines it.

Differences from `repulsive-sds-guidance`:
- `guidance_scale` is s in text + s (text - unconditional), so w = s + 1 in eq. (24); with Perp-Neg w = s;
- each view has its own timestep;
- latents are sampled from the VAE's posterior;
- random numbers come from torch's global generator;
- the loss is divided by the number of views.

A gradient that is not finite stops the run; threestudio sets it to zero.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...distillation import loss_with_gradient, timestep_weight
from ...errors import UserError, one_of
from ...finite import note
from ...host import BaseObject, C, info, register, warn
from ...priors import PromptEmbedding
from ..prior_config import PriorConfig, configured_prior
from ..prompt_embedding import embedding_of_views

# Default models of threestudio; runwayml/stable-diffusion-v1-5 has moved to this repository.
STABLE_DIFFUSION = "stable-diffusion-v1-5/stable-diffusion-v1-5"
DEEP_FLOYD = "DeepFloyd/IF-I-XL-v1.0"
WEIGHTINGS = ("sds", "uniform", "fantasia3d")


class ScoreDistillationGuidance(BaseObject):
    """Base class of both guidance modules: SDS loss of a batch of views.

    Raises:
        UserError: an invalid config value, an option that only threestudio has, or a model that cannot be loaded.
    """

    @dataclass
    class Config(BaseObject.Config):
        pretrained_model_name_or_path: str = ""  # a diffusers folder or a hub id
        # Memory.
        enable_memory_efficient_attention: bool = False  # no effect: PyTorch 2 always uses it
        enable_sequential_cpu_offload: bool = False  # no effect here: warns
        enable_attention_slicing: bool = False  # compute attention in slices
        enable_channels_last_format: bool = False  # memory layout of the U-Net
        half_precision_weights: bool = True  # float16 on a GPU; a CPU always computes in float32
        # Score distillation; defaults are threestudio's.
        guidance_scale: float = 100.0  # s of text + s (text - unconditional)
        grad_clip: Any | None = None  # clip each gradient value to this magnitude; number or schedule
        min_step_percent: Any = 0.02  # lowest t / T; number or schedule
        max_step_percent: Any = 0.98  # highest t / T; number or schedule
        weighting_strategy: str = "sds"  # w(t): sds, uniform, fantasia3d
        view_dependent_prompting: bool = True  # add the direction of view to the prompt
        max_items_eval: int = 4  # no effect: number of debugging pictures, which are not made here

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
            warn("half_precision_weights=True needs a GPU; the prior of this run computes in float32.")
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
        """Evaluate the schedules at this step."""
        low, high = self._noise_interval(epoch, global_step)
        if not 0 <= low <= high <= 1:
            raise UserError(
                f"min_step_percent={low} and max_step_percent={high} are impossible; accepted: numbers from 0 to 1 "
                "with min_step_percent <= max_step_percent."
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
        """SDS loss of a batch of views.

        Args:
            rgb: images (B, H, W, 3) in [0, 1], or latents (B, H, W, C) if `rgb_as_latents`.
            prompt_utils: output of the prompt processor.
            elevation: elevation of each camera, degrees, (B,).
            azimuth: azimuth of each camera, degrees, (B,).
            camera_distances: distance of each camera from the origin, (B,).
            rgb_as_latents: whether `rgb` holds latents.
            **batch: other entries of the data's batch, unused.

        Returns:
            `loss_sds`, and scalars to log.

        Raises:
            UserError: Perp-Neg with prompts that do not name the direction of view, or latents for DeepFloyd IF.
        """
        embedding = embedding_of_views(
            prompt_utils,
            elevation,
            azimuth,
            camera_distances,
            self.cfg.view_dependent_prompting,
            device=self.prior.device,
        )
        with torch.autocast(rgb.device.type, enabled=False):  # the prior computes in the precision of its weights
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
        """Convert images to the space of the prior.

        Args:
            images: images (B, 3, H, W) in [0, 1], or latents (B, C, H, W), of any size.
            are_latents: whether `images` holds latents.

        Returns:
            (B, ...) at the size of the prior.
        """
        raise NotImplementedError

    def gradient(self, x_0: Tensor, t: Tensor, embedding: PromptEmbedding) -> Tensor:
        """Gradient w(t) (eps_w(x_t) - noise), clipped to `grad_clip`.

        Args:
            x_0: latents, or pixels of DeepFloyd IF, (B, ...).
            t: timestep of each view, (B,).
            embedding: prompt embedding of the views.

        Returns:
            gradient like x_0.
        """
        prior = self.prior
        alpha, sigma = prior.alpha(t), prior.sigma(t)
        noise = torch.randn_like(x_0)
        predictions = prior.noise_predictions(alpha * x_0 + sigma * noise, t, embedding)
        # threestudio has two conventions: text + s (text - unconditional), but unconditional + s (...) with Perp-Neg.
        scale = self.cfg.guidance_scale + (1 if embedding.perp_neg is None else 0)
        direction = predictions.guided(scale) - noise
        gradient = timestep_weight(self.cfg.weighting_strategy, alpha, sigma) * direction
        note("the gradient", gradient, t=t, lower="system.guidance.half_precision_weights", axes=("view",))
        return gradient if self.grad_clip is None else gradient.clamp(-self.grad_clip, self.grad_clip)


def _resized(images: Tensor, size: int) -> Tensor:
    """Resize images (B, C, H, W) to (size, size) as threestudio does, without antialiasing."""
    return F.interpolate(images, (size, size), mode="bilinear", align_corners=False)


@register("stable-diffusion-guidance")
class StableDiffusionGuidance(ScoreDistillationGuidance):
    """SDS in the latent space of Stable Diffusion."""

    @dataclass
    class Config(ScoreDistillationGuidance.Config):
        pretrained_model_name_or_path: str = STABLE_DIFFUSION
        sqrt_anneal: bool = False  # one t for all views, which falls with the square root of the progress (HiFA)
        trainer_max_steps: int = 25000  # steps of the run, for sqrt_anneal
        # Options that only threestudio has; the first three must be false.
        use_img_loss: bool = False
        use_sjc: bool = False
        token_merging: bool = False
        var_red: bool = True  # option of use_sjc
        token_merging_params: dict | None = None

    cfg: Any  # Config
    prior_type = "stable-diffusion"

    def configure(self) -> None:
        for key in ("use_img_loss", "use_sjc", "token_merging"):
            if self.cfg[key]:
                raise UserError(f"{key}=True needs threestudio; accepted without it: False.")
        super().configure()

    def _noise_interval(self, epoch: int, global_step: int) -> tuple[float, float]:
        low, high = super()._noise_interval(epoch, global_step)
        if not self.cfg.sqrt_anneal:
            return low, high
        progress = min(global_step / self.cfg.trainer_max_steps, 1.0)
        share = low + (high - low) * (1 - progress**0.5)
        return share, share

    def latents(self, images: Tensor, are_latents: bool = False) -> Tensor:
        """Sample from the VAE's posterior; see `ScoreDistillationGuidance.latents`."""
        prior = self.prior
        if are_latents:
            return _resized(images, prior.latent_shape[-1])
        posterior = prior.posterior(_resized(images, prior.image_size))
        return posterior.sample().float() * prior.vae.config.scaling_factor


@register("deep-floyd-guidance")
class DeepFloydGuidance(ScoreDistillationGuidance):
    """SDS in the pixel space of DeepFloyd IF."""

    @dataclass
    class Config(ScoreDistillationGuidance.Config):
        pretrained_model_name_or_path: str = DEEP_FLOYD
        enable_channels_last_format: bool = True
        guidance_scale: float = 20.0

    cfg: Any  # Config
    prior_type = "deep-floyd"

    def latents(self, images: Tensor, are_latents: bool = False) -> Tensor:
        """Scale and resize the pixels; see `ScoreDistillationGuidance.latents`.

        Raises:
            UserError: `are_latents` is true.
        """
        if are_latents:
            raise UserError("rgb_as_latents=True is impossible: DeepFloyd IF has no latents; accepted: False.")
        return self.prior.encode(_resized(images, self.prior.image_size))
