"""Stable Diffusion XL (Podell et al., 2023, arXiv 2307.01952)."""

from typing import Any

import torch
from torch import Tensor

from ..base import LORA_TARGETS
from .base import Parts, TabulatedFamilyPrior
from .packing import pack_pooled, unpack_pooled
from .registry import register_prior


@register_prior("stable-diffusion-xl", ("StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline"))
class StableDiffusionXLPrior(TabulatedFamilyPrior):
    """Stable Diffusion XL. Arguments: see `TabulatedFamilyPrior`.

    The empty prompt has an embedding of zeros where the pipeline's config says so (force_zeros_for_empty_prompt).
    """

    network_part = "unet"
    network_class = "UNet2DConditionModel"
    half_dtype = torch.float16
    lora_targets = LORA_TARGETS

    def __init__(self, parts: Parts, image_size: int | None = None) -> None:
        config = parts.network.config
        if config.get("addition_embed_type") != "text_time" or config.get("time_cond_proj_dim") is not None:
            raise parts.error(
                f"its unet has addition_embed_type={config.get('addition_embed_type')!r} and time_cond_proj_dim="
                f"{config.get('time_cond_proj_dim')!r}; accepted: 'text_time' and None, as in Stable Diffusion XL base"
            )
        super().__init__(parts, image_size)
        add_width = self.network.add_embedding.linear_1.in_features
        self.pooled_width = add_width - 6 * config.addition_time_embed_dim  # six numbers of sizes and crops
        mean, std = self.vae.config.get("latents_mean"), self.vae.config.get("latents_std")
        self.latents_mean = torch.tensor(mean if mean and std else 0.0).reshape(-1, 1, 1)
        self.latents_std = torch.tensor(std if mean and std else 1.0).reshape(-1, 1, 1)

    @classmethod
    def encode_text(cls, pipe: Any, prompt: str, is_negative: bool, device: torch.device) -> Tensor:
        """See `FamilyPrior.encode_text`."""
        tokens, _, pooled, _ = pipe.encode_prompt(prompt, device=device, do_classifier_free_guidance=False)
        text = pack_pooled(tokens[0], pooled[0])
        return torch.zeros_like(text) if prompt == "" and pipe.config.get("force_zeros_for_empty_prompt") else text

    def output(self, x_t: Tensor, t: Tensor, text: Tensor) -> Tensor:
        """See `TabulatedFamilyPrior.output`; the image has its full size and is not cropped."""
        self.check_text(text, self.network.config.cross_attention_dim)
        tokens, pooled = unpack_pooled(text, self.pooled_width)
        sizes = x_t.new_full((len(x_t), 6), float(self.image_size))  # original size, crop, target size
        sizes[:, 2:4] = 0  # filled on the device: a copy of numbers would wait for it
        output: Tensor = self.network(
            x_t, t, encoder_hidden_states=tokens, added_cond_kwargs={"text_embeds": pooled, "time_ids": sizes}
        ).sample
        return output

    def scale_latents(self, latents: Tensor) -> Tensor:
        """See `FamilyPrior.scale_latents`."""
        factor = float(self.vae.config.scaling_factor)
        return (latents - self.latents_mean.to(latents)) * factor / self.latents_std.to(latents)

    def unscale_latents(self, particles: Tensor) -> Tensor:
        """See `FamilyPrior.unscale_latents`."""
        factor = float(self.vae.config.scaling_factor)
        return particles * self.latents_std.to(particles) / factor + self.latents_mean.to(particles)
