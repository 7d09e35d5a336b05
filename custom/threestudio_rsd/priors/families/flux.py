"""FLUX.1 dev and schnell (Black Forest Labs, 2024)."""

from typing import Any

import torch
from torch import Tensor

from .base import FlowFamilyPrior
from .packing import pack_pooled, unpack_pooled
from .registry import register_prior
from .tokens import from_tokens, to_tokens, token_positions


@register_prior("flux", ("FluxPipeline", "FluxImg2ImgPipeline"))
class FluxPrior(FlowFamilyPrior):
    """FLUX.1; the network of dev takes a guidance scale as an input. Arguments: see `FlowFamilyPrior`.

    Attributes:
        embedded_guidance: guidance scale that the network of dev takes; schnell ignores it.
    """

    network_class = "FluxTransformer2DModel"
    embedded_guidance = 3.5

    @classmethod
    def channels(cls, config: Any) -> int:
        """See `FamilyPrior.channels`."""
        return int(config.in_channels) // 4

    @classmethod
    def patch_size(cls, config: Any) -> int:
        """See `FamilyPrior.patch_size`; the config's own value is that of packed latents."""
        return 2

    @classmethod
    def encode_text(cls, pipe: Any, prompt: str, is_negative: bool, device: torch.device) -> Tensor:
        """See `FamilyPrior.encode_text`."""
        tokens, pooled, _ = pipe.encode_prompt(prompt, device=device)
        return pack_pooled(tokens[0], pooled[0])

    def velocity(self, x_t: Tensor, flow_time: Tensor, text: Tensor) -> Tensor:
        """See `FlowPrior.velocity`."""
        config = self.network.config
        self.check_text(text, config.joint_attention_dim)
        tokens, pooled = unpack_pooled(text, config.pooled_projection_dim)
        height, width = x_t.shape[-2] // 2, x_t.shape[-1] // 2
        guidance = torch.full_like(flow_time, self.embedded_guidance) if config.guidance_embeds else None
        output = self.network(
            hidden_states=to_tokens(x_t),
            timestep=flow_time,
            guidance=guidance,
            pooled_projections=pooled,
            encoder_hidden_states=tokens,
            txt_ids=torch.zeros(tokens.shape[1], 3, device=x_t.device, dtype=x_t.dtype),
            img_ids=token_positions(height, width, x_t.device).to(x_t.dtype),
        ).sample
        return from_tokens(output, x_t.shape)
