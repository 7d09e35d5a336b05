"""Qwen-Image (Wu et al., 2025, arXiv 2508.02324)."""

from typing import Any

import torch
from torch import Tensor

from .base import FlowFamilyPrior, Parts
from .packing import pack_mask, unpack_mask
from .registry import register_prior
from .tokens import from_tokens, to_tokens


@register_prior("qwen-image", ("QwenImagePipeline", "QwenImageImg2ImgPipeline"))
class QwenImagePrior(FlowFamilyPrior):
    """Qwen-Image; a guided velocity is rescaled to the norm of the conditional one, token by token, as in its pipeline.

    Arguments: see `FlowFamilyPrior`.
    """

    network_class = "QwenImageTransformer2DModel"
    vae_class = "AutoencoderKLQwenImage"

    def __init__(self, parts: Parts, image_size: int | None = None) -> None:
        if parts.network.config.get("guidance_embeds"):
            raise parts.error("its transformer has guidance_embeds=true, an input that this prior does not give")
        super().__init__(parts, image_size)
        config = self.vae.config
        self.latents_mean = torch.tensor(config.latents_mean).reshape(-1, 1, 1)
        self.latents_std = torch.tensor(config.latents_std).reshape(-1, 1, 1)

    @classmethod
    def vae_pixels(cls, vae: Any) -> int:
        """See `FamilyPrior.vae_pixels`."""
        return int(2 ** len(vae.temperal_downsample))

    @classmethod
    def channels(cls, config: Any) -> int:
        """See `FamilyPrior.channels`."""
        return int(config.in_channels) // 4

    @classmethod
    def patch_size(cls, config: Any) -> int:
        """See `FamilyPrior.patch_size`."""
        return 2

    @classmethod
    def encode_text(cls, pipe: Any, prompt: str, is_negative: bool, device: torch.device) -> Tensor:
        """See `FamilyPrior.encode_text`."""
        tokens, mask = pipe.encode_prompt(prompt, device=device)
        return pack_mask(tokens[0], None if mask is None else mask[0])

    def velocity(self, x_t: Tensor, flow_time: Tensor, text: Tensor) -> Tensor:
        """See `FlowPrior.velocity`."""
        self.check_text(text, self.network.config.joint_attention_dim + 1)
        tokens, mask = unpack_mask(text)
        height, width = x_t.shape[-2] // 2, x_t.shape[-1] // 2
        output = self.network(
            hidden_states=to_tokens(x_t),
            timestep=flow_time,
            encoder_hidden_states=tokens,
            encoder_hidden_states_mask=mask,
            img_shapes=[[(1, height, width)]] * len(x_t),
        ).sample
        return from_tokens(output, x_t.shape)

    def rescale_velocity(self, guided: Tensor, conditional: Tensor) -> Tensor:  # type: ignore[override]
        """Guided velocity (N, C, h, w) with the norm of the conditional one in each token."""
        tokens = to_tokens(guided)
        norm = to_tokens(conditional).norm(dim=-1, keepdim=True)
        ratio = norm / tokens.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(tokens.dtype).tiny)
        return from_tokens(tokens * ratio, guided.shape)

    def vae_encode(self, pixels: Tensor) -> Tensor:
        """See `FamilyPrior.vae_encode`; an image is a video of one frame."""
        latents: Tensor = self.vae.encode(pixels[:, :, None]).latent_dist.mean[:, :, 0]
        return latents

    def vae_decode(self, latents: Tensor) -> Tensor:
        """See `FamilyPrior.vae_decode`."""
        pixels: Tensor = self.vae.decode(latents[:, :, None]).sample[:, :, 0]
        return pixels

    def scale_latents(self, latents: Tensor) -> Tensor:
        """See `FamilyPrior.scale_latents`."""
        return (latents - self.latents_mean.to(latents)) / self.latents_std.to(latents)

    def unscale_latents(self, particles: Tensor) -> Tensor:
        """See `FamilyPrior.unscale_latents`."""
        return particles * self.latents_std.to(particles) + self.latents_mean.to(particles)
