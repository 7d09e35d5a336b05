"""Stable Diffusion 1.x and 2.x, and the bundled latent prior, which has the same format."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..errors import positive
from .diffusers_prior import DiffusersPrior, pipe_error, pipe_name
from .pipelines import KEY, find_pipeline
from .schedulers import check_noise_levels


class StableDiffusionPrior(DiffusersPrior):
    """Stable Diffusion; particles are scaled latents (4, h, w).

    A VAE whose config has `force_upcast: true`, as one that overflows in half precision has, stays in single precision.

    Args:
        unet: see `DiffusersPrior`.
        vae: diffusers' AutoencoderKL.
        scheduler: see `DiffusersPrior`.
        model: see `DiffusersPrior`.
        revision: see `DiffusersPrior`.
        variant: see `DiffusersPrior`.

    Raises:
        UserError: U-Net and VAE do not fit each other, or see `DiffusersPrior`.
    """

    text_encoder_kind = "clip"
    is_latent = True
    has_old_sizes = True
    vae: Any

    def __init__(
        self,
        unet: Any,
        vae: Any,
        scheduler: Any,
        model: str,
        revision: str | None = None,
        variant: str | None = None,
    ) -> None:
        super().__init__(unet, scheduler, model, revision, variant, vae.config.latent_channels)
        positive(f"{KEY}={model!r}: scaling_factor of its vae/config.json", vae.config.scaling_factor)
        self.vae = vae.requires_grad_(False).eval()
        self.image_size *= 2 ** (len(vae.config.block_out_channels) - 1)

    @classmethod
    def from_pretrained(
        cls,
        model: str,
        revision: str | None = None,
        torch_dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        variant: str | None = None,
    ) -> "StableDiffusionPrior":
        """Load a prior; arguments as in `load_prior`.

        Raises:
            UserError: the pipeline cannot be loaded.
        """
        pipeline = find_pipeline(model, revision, "stable-diffusion", variant)
        scheduler = pipeline.load_scheduler()
        unet = pipeline.load("unet", "UNet2DConditionModel", torch_dtype)
        overflows = torch_dtype == torch.float16 and pipeline.source.read_json("vae/config.json").get("force_upcast")
        vae = pipeline.load("vae", "AutoencoderKL", torch.float32 if overflows else torch_dtype)
        return cls(unet, vae, scheduler, model, pipeline.source.commit or revision, variant).to(device)

    @classmethod
    def from_pipe(cls, pipe: Any) -> "StableDiffusionPrior":
        """Prior of a pipeline object, which is used as it is.

        Raises:
            UserError: its scheduler or its U-Net does not fit.
        """
        check_noise_levels(pipe.scheduler, partial(pipe_error, pipe))
        prior = cls(pipe.unet, pipe.vae, pipe.scheduler, pipe_name(pipe))
        prior.take_pipe(pipe)
        return prior

    def encode(self, images: Tensor) -> Tensor:
        """See `Prior.encode`; the mean of the VAE's posterior, which is deterministic."""
        latents: Tensor = self.posterior(images).mean.float() * self.vae.config.scaling_factor
        return latents

    def posterior(self, images: Tensor) -> Any:
        """Posterior of the VAE for images (N, 3, H, W) in [0, 1]: diffusers' Gaussian over latents before scaling."""
        return self.vae.encode((self.resize(images) * 2 - 1).to(self.vae.dtype)).latent_dist

    def decode(self, latents: Tensor, clamp: bool = True) -> Tensor:
        """See `Prior.decode`."""
        images: Tensor = self.vae.decode((latents / self.vae.config.scaling_factor).to(self.vae.dtype)).sample.float()
        images = images / 2 + 0.5
        return images.clamp(0, 1) if clamp else images
