"""DeepFloyd IF, stage I: a pixel-space model at 64x64."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import PromptEmbedding, TabulatedPrior, noise_from_output
from .embeddings import embed_prompts
from .pipelines import load_parts


class DeepFloydPrior(TabulatedPrior):
    """Pixel-space diffusion model; particles are images (3, 64, 64) in [-1, 1].

    Args:
        unet: diffusers' UNet2DConditionModel; a learned variance in its output is dropped.
        scheduler: any diffusers scheduler; gives the noise schedule and the prediction type.
        model, revision: where the text encoder comes from when a prompt is embedded.
    """

    unet: Any

    def __init__(self, unet: Any, scheduler: Any, model: str, revision: str | None = None) -> None:
        size = unet.config.sample_size
        super().__init__(scheduler.alphas_cumprod, (unet.config.in_channels, size, size))
        self.unet = unet.requires_grad_(False).eval()
        self.prediction_type = scheduler.config.prediction_type
        self.image_size = size
        self.model = model
        self.revision = revision
        self.fingerprint = f"{model}@{revision or 'main'} {self.unet.dtype}"

    @classmethod
    def from_pretrained(
        cls,
        model: str,
        revision: str | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> "DeepFloydPrior":
        """Load a diffusers folder or a hub id. Raises UserError where that fails."""
        from diffusers import UNet2DConditionModel

        scheduler, unet = load_parts(model, revision, dtype, unet=UNet2DConditionModel)
        return cls(unet, scheduler, model, revision).to(device)

    def embed(self, prompt: str, negative: str = "") -> PromptEmbedding:
        texts = embed_prompts([prompt, "", negative], self.model, "t5", self.revision)
        return PromptEmbedding(*texts.to(self.device).split(1))

    def raw_predict(self, x_t: Tensor, t: int | Tensor, text: Tensor) -> Tensor:
        output = self.unet(x_t.to(self.unet.dtype), t, encoder_hidden_states=text.to(self.unet.dtype)).sample.float()
        output = output[:, : x_t.shape[1]]
        return noise_from_output(output, x_t, self.alpha(t), self.sigma(t), self.prediction_type)

    def encode(self, images: Tensor) -> Tensor:
        size = (self.image_size, self.image_size)
        if images.shape[-2:] != size:
            images = F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)
        return images * 2 - 1

    def decode(self, latents: Tensor, clamp: bool = True) -> Tensor:
        images = latents / 2 + 0.5
        return images.clamp(0, 1) if clamp else images
