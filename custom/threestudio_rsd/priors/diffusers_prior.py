"""Base class of the priors made from diffusers pipelines."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import PromptEmbedding, TabulatedPrior, noise_from_output
from .pipelines import is_bundled
from .text_embeddings import embed_prompts


class DiffusersPrior(TabulatedPrior):
    """Prior with a U-Net of diffusers. Weights may be in half precision; inputs and outputs are in single precision.

    Args:
        unet: diffusers' UNet2DConditionModel; a learned variance in its output is dropped.
        scheduler: any diffusers scheduler; gives the noise schedule and the prediction type.
        model: name, folder or hub id of the pipeline, from which `embed` loads the text encoder.
        revision: revision of the hub id.
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
        """See `Prior.embed`."""
        texts = embed_prompts([prompt, "", negative_prompt], self.model, self.text_encoder_kind, self.revision)
        conditional, unconditional, negative = torch.split(texts.to(self.device), 1)
        return PromptEmbedding(conditional, unconditional, negative)

    def raw_predict(self, x_t: Tensor, t: int | Tensor, text: Tensor) -> Tensor:
        """See `Prior.raw_predict`."""
        self.network_calls += len(x_t)
        dtype = self.unet.dtype
        output = self.unet(x_t.to(dtype), t, encoder_hidden_states=text.to(dtype)).sample.float()
        output = output[:, : x_t.shape[1]]
        return noise_from_output(output, x_t, self.alpha(t), self.sigma(t), self.prediction_type)

    def resize(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) resized to the prior's image size."""
        size = (self.image_size, self.image_size)
        if images.shape[-2:] == torch.Size(size):
            return images
        return F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)
