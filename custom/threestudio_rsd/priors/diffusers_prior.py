"""Base class of the priors made from diffusers pipelines."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import UserError
from .base import PromptEmbedding, TabulatedPrior, noise_from_output
from .pipelines import KEY, is_bundled
from .text import embed_prompts
from .unet_config import check_unet, sample_size, text_width


class DiffusersPrior(TabulatedPrior):
    """Prior with a U-Net of diffusers. Weights may be in half precision; inputs and outputs are in single precision.

    Args:
        unet: diffusers' UNet2DConditionModel; a learned variance in its output is dropped.
        scheduler: any diffusers scheduler with `alphas_cumprod`; gives the noise schedule and the prediction type.
        model: name, folder or hub id of the pipeline, from which `embed` loads the text encoder.
        revision: revision of the hub id, or its commit.
        variant: variant of the weights to prefer; see `choose_variant`.
        channels: channels of a particle.

    Raises:
        UserError: the U-Net needs inputs that priors do not give, or has no square sample size.
    """

    text_encoder_kind: str
    prediction_type: str
    has_old_sizes = False  # whether sizes of old files are wrong; see `sample_size`

    def __init__(
        self,
        unet: Any,
        scheduler: Any,
        model: str,
        revision: str | None = None,
        variant: str | None = None,
        channels: int = 3,
    ) -> None:
        def error(problem: str) -> UserError:
            return UserError(f"{KEY}={model!r}: {problem}.")

        check_unet(unet.config, channels, error)
        size = sample_size(unet.config, error, self.has_old_sizes)
        super().__init__(scheduler.alphas_cumprod, (channels, size, size))
        self.unet = unet.requires_grad_(False).eval()
        self.prediction_type = scheduler.config.get("prediction_type", "epsilon")
        self.text_width = text_width(unet.config)
        self.image_size = size
        self.model = model
        self.revision = revision
        self.variant = variant
        self.is_bundled = is_bundled(model)
        self.fingerprint = f"{model}@{revision or 'main'} {self.unet.dtype}"

    def embed(self, prompt: str, negative_prompt: str = "") -> PromptEmbedding:
        """See `Prior.embed`."""
        texts = embed_prompts(
            [prompt, "", negative_prompt], self.model, self.text_encoder_kind, self.revision, variant=self.variant
        )
        conditional, unconditional, negative = torch.split(texts.to(self.device), 1)
        return PromptEmbedding(conditional, unconditional, negative)

    def raw_predict(self, x_t: Tensor, t: int | Tensor, text: Tensor) -> Tensor:
        """See `Prior.raw_predict`.

        Raises:
            UserError: the text embeddings are those of another model.
        """
        if self.text_width not in (None, text.shape[-1]):
            raise UserError(
                f"text embeddings of width {text.shape[-1]} do not fit {KEY}={self.model!r}, which takes "
                f"{self.text_width}; accepted: the same model in the prompt processor."
            )
        self.network_calls += len(x_t)
        dtype = self.unet.dtype
        output = self.unet(x_t.to(dtype), t, encoder_hidden_states=text.to(dtype)).sample.float()
        output = output[:, : x_t.shape[1]]
        assert self.prediction_type is not None
        return noise_from_output(output, x_t, self.alpha(t), self.sigma(t), self.prediction_type)

    def resize(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) resized to the prior's image size."""
        size = (self.image_size, self.image_size)
        if images.shape[-2:] == torch.Size(size):
            return images
        return F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)
