"""What priors from diffusers pipelines have in common."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import PromptEmbedding, TabulatedPrior, noise_from_output
from .files import is_bundled
from .text_embeddings import embed_prompts


class DiffusersPrior(TabulatedPrior):
    """Prior on a U-Net of diffusers. Weights may be in half precision; everything in and out is single precision.

    Args:
        unet: diffusers' UNet2DConditionModel; a learned variance in its output is dropped.
        scheduler: any diffusers scheduler; gives the noise schedule and the prediction type.
        model, revision: where the text encoder comes from when a prompt is embedded.
    """

    text_encoder_kind: str

    def __init__(self, unet: Any, scheduler: Any, model: str, revision: str | None = None) -> None:
        size = unet.config.sample_size
        super().__init__(scheduler.alphas_cumprod, (unet.config.in_channels, size, size))
        self.unet = unet.requires_grad_(False).eval()
        self.prediction_type = scheduler.config.prediction_type
        self.image_size = size
        self.model = model
        self.revision = revision
        self.is_bundled = is_bundled(model)
        self.fingerprint = f"{model}@{revision or 'main'} {self.unet.dtype}"

    def embed(self, prompt: str, negative_prompt: str = "") -> PromptEmbedding:
        texts = embed_prompts([prompt, "", negative_prompt], self.model, self.text_encoder_kind, self.revision)
        return PromptEmbedding(*texts.to(self.device).split(1))

    def raw_predict(self, x_t: Tensor, t: int | Tensor, text: Tensor) -> Tensor:
        dtype = self.unet.dtype
        output = self.unet(x_t.to(dtype), t, encoder_hidden_states=text.to(dtype)).sample.float()
        output = output[:, : x_t.shape[1]]
        return noise_from_output(output, x_t, self.alpha(t), self.sigma(t), self.prediction_type)

    def resize(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) at the prior's own size."""
        size = (self.image_size, self.image_size)
        if images.shape[-2:] == torch.Size(size):
            return images
        return F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)
