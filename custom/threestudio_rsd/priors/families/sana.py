"""Sana (Xie et al., 2024, arXiv 2410.10629)."""

import inspect
from typing import Any

import torch
from torch import Tensor

from .base import FlowFamilyPrior
from .packing import pack_mask, unpack_mask
from .registry import register_prior


@register_prior("sana", ("SanaPipeline",))
class SanaPrior(FlowFamilyPrior):
    """Sana, with the deep-compression autoencoder. Arguments: see `FlowFamilyPrior`.

    Prompts follow the pipeline's default instruction to the language model; negative and empty prompts do not.
    """

    network_class = "SanaTransformer2DModel"
    vae_class = "AutoencoderDC"
    default_sample_size = 32

    @classmethod
    def vae_pixels(cls, vae: Any) -> int:
        """See `FamilyPrior.vae_pixels`."""
        return int(2 ** (len(vae.config.encoder_block_out_channels) - 1))

    @classmethod
    def encode_text(cls, pipe: Any, prompt: str, is_negative: bool, device: torch.device) -> Tensor:
        """See `FamilyPrior.encode_text`."""
        instruction = inspect.signature(type(pipe).__call__).parameters["complex_human_instruction"].default
        tokens, mask, _, _ = pipe.encode_prompt(
            prompt,
            do_classifier_free_guidance=False,
            device=device,
            complex_human_instruction=None if is_negative or not prompt else instruction,
        )
        return pack_mask(tokens[0], mask[0])

    def velocity(self, x_t: Tensor, flow_time: Tensor, text: Tensor) -> Tensor:
        """See `FlowPrior.velocity`."""
        config = self.network.config
        self.check_text(text, config.caption_channels + 1)
        tokens, mask = unpack_mask(text)
        output: Tensor = self.network(
            x_t,
            encoder_hidden_states=tokens,
            encoder_attention_mask=mask,
            timestep=1000 * flow_time * config.timestep_scale,
        ).sample
        return output[:, : x_t.shape[1]]

    def vae_encode(self, pixels: Tensor) -> Tensor:
        """See `FamilyPrior.vae_encode`."""
        latents: Tensor = self.vae.encode(pixels).latent
        return latents
