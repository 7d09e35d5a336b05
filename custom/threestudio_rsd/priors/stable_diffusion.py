"""Stable Diffusion 1.x and 2.x, and the bundled prior, which has the same format."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import PromptEmbedding, TabulatedPrior, noise_from_output
from .embeddings import embed_prompts
from .files import is_bundled
from .pipelines import load_parts


class StableDiffusionPrior(TabulatedPrior):
    """Latent diffusion model; particles are scaled latents (4, h, w).

    Weights may be in half precision; everything in and out is single precision.

    Args:
        unet, vae: diffusers' UNet2DConditionModel and AutoencoderKL.
        scheduler: any diffusers scheduler; gives the noise schedule and the prediction type.
        model, revision: where the text encoder comes from when a prompt is embedded.
    """

    unet: Any
    vae: Any

    def __init__(self, unet: Any, vae: Any, scheduler: Any, model: str, revision: str | None = None) -> None:
        size = unet.config.sample_size
        super().__init__(scheduler.alphas_cumprod, (unet.config.in_channels, size, size))
        self.unet = unet.requires_grad_(False).eval()
        self.vae = vae.requires_grad_(False).eval()
        self.prediction_type = scheduler.config.prediction_type
        self.image_size = size * 2 ** (len(vae.config.block_out_channels) - 1)
        self.model = model
        self.revision = revision
        self.is_bundled = is_bundled(model)
        self.fingerprint = f"{model}@{revision or 'main'} {self.unet.dtype}"

    @classmethod
    def from_pretrained(
        cls,
        model: str,
        revision: str | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> "StableDiffusionPrior":
        """Load `bundled`, a diffusers folder or a hub id. Raises UserError where that fails."""
        from diffusers import AutoencoderKL, UNet2DConditionModel

        scheduler, unet, vae = load_parts(model, revision, dtype, unet=UNet2DConditionModel, vae=AutoencoderKL)
        return cls(unet, vae, scheduler, model, revision).to(device)

    def embed(self, prompt: str, negative: str = "") -> PromptEmbedding:
        texts = embed_prompts([prompt, "", negative], self.model, "clip", self.revision)
        return PromptEmbedding(*texts.to(self.device).split(1))

    def raw_predict(self, x_t: Tensor, t: int | Tensor, text: Tensor) -> Tensor:
        output = self.unet(x_t.to(self.unet.dtype), t, encoder_hidden_states=text.to(self.unet.dtype)).sample.float()
        return noise_from_output(output, x_t, self.alpha(t), self.sigma(t), self.prediction_type)

    def encode(self, images: Tensor) -> Tensor:
        """See `Prior.encode`; the mean of the posterior, so that nothing random hides in it."""
        size = (self.image_size, self.image_size)
        if images.shape[-2:] != size:
            images = F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)
        posterior = self.vae.encode((images * 2 - 1).to(self.vae.dtype)).latent_dist
        return posterior.mean.float() * self.vae.config.scaling_factor

    def decode(self, latents: Tensor, clamp: bool = True) -> Tensor:
        images = self.vae.decode((latents / self.vae.config.scaling_factor).to(self.vae.dtype)).sample.float()
        images = images / 2 + 0.5
        return images.clamp(0, 1) if clamp else images
