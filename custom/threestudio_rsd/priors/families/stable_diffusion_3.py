"""Stable Diffusion 3 and 3.5 (Esser et al., 2024, arXiv 2403.03206)."""

from typing import Any

import torch
from torch import Tensor

from .base import FlowFamilyPrior
from .packing import pack_pooled, unpack_pooled
from .registry import register_prior

T5_LENGTH = 256  # tokens to which the pipeline pads the text for T5, unless the tokenizer allows fewer


@register_prior("stable-diffusion-3", ("StableDiffusion3Pipeline", "StableDiffusion3Img2ImgPipeline"))
class StableDiffusion3Prior(FlowFamilyPrior):
    """Stable Diffusion 3 and 3.5. Arguments: see `FlowFamilyPrior`."""

    network_class = "SD3Transformer2DModel"

    @classmethod
    def encode_text(cls, pipe: Any, prompt: str, is_negative: bool, device: torch.device) -> Tensor:
        """See `FamilyPrior.encode_text`."""
        limit = getattr(pipe.tokenizer_3, "model_max_length", T5_LENGTH)  # there may be no T5
        tokens, _, pooled, _ = pipe.encode_prompt(
            prompt,
            None,
            None,
            device=device,
            do_classifier_free_guidance=False,
            max_sequence_length=min(T5_LENGTH, limit),
        )
        return pack_pooled(tokens[0], pooled[0])

    def velocity(self, x_t: Tensor, flow_time: Tensor, text: Tensor) -> Tensor:
        """See `FlowPrior.velocity`."""
        config = self.network.config
        self.check_text(text, config.joint_attention_dim)
        tokens, pooled = unpack_pooled(text, config.pooled_projection_dim)
        output: Tensor = self.network(
            hidden_states=x_t,
            timestep=1000 * flow_time,
            encoder_hidden_states=tokens,
            pooled_projections=pooled,
        ).sample
        return output
