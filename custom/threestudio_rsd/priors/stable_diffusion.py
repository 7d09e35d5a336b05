"""Stable Diffusion 1.x and 2.x, and the bundled latent prior, which has the same format."""

from typing import Any

import torch
from torch import Tensor

from .diffusers_prior import DiffusersPrior
from .pipelines import load_parts


class StableDiffusionPrior(DiffusersPrior):
    """Stable Diffusion; particles are scaled latents (4, h, w).

    Args:
        unet: see `DiffusersPrior`.
        vae: diffusers' AutoencoderKL.
        scheduler: see `DiffusersPrior`.
        model: see `DiffusersPrior`.
        revision: see `DiffusersPrior`.
    """

    text_encoder_kind = "clip"
    is_latent = True
    vae: Any

    def __init__(self, unet: Any, vae: Any, scheduler: Any, model: str, revision: str | None = None) -> None:
        super().__init__(unet, scheduler, model, revision)
        self.vae = vae.requires_grad_(False).eval()
        self.image_size *= 2 ** (len(vae.config.block_out_channels) - 1)

    @classmethod
    def from_pretrained(
        cls,
        model: str,
        revision: str | None = None,
        torch_dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> "StableDiffusionPrior":
        """Load a prior; arguments as in `load_prior`.

        Raises:
            UserError: the pipeline cannot be loaded.
        """
        from diffusers import AutoencoderKL, UNet2DConditionModel

        scheduler, unet, vae = load_parts(model, revision, torch_dtype, unet=UNet2DConditionModel, vae=AutoencoderKL)
        return cls(unet, vae, scheduler, model, revision).to(device)

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
