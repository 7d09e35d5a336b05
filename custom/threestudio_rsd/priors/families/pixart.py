"""PixArt-alpha and PixArt-Sigma (Chen et al., 2024, arXiv 2310.00426 and 2403.04692)."""

from typing import Any

import torch
from torch import Tensor

from .base import TabulatedFamilyPrior
from .packing import pack_mask, unpack_mask
from .registry import register_prior


@register_prior("pixart", ("PixArtSigmaPipeline", "PixArtAlphaPipeline"))
class PixArtPrior(TabulatedFamilyPrior):
    """PixArt-Sigma and PixArt-alpha. Arguments: see `TabulatedFamilyPrior`."""

    network_class = "PixArtTransformer2DModel"

    @classmethod
    def encode_text(cls, pipe: Any, prompt: str, is_negative: bool, device: torch.device) -> Tensor:
        """See `FamilyPrior.encode_text`."""
        tokens, mask, _, _ = pipe.encode_prompt(prompt, do_classifier_free_guidance=False, device=device)
        return pack_mask(tokens[0], mask[0])

    def output(self, x_t: Tensor, t: Tensor, text: Tensor) -> Tensor:
        """See `TabulatedFamilyPrior.output`."""
        self.check_text(text, self.network.config.caption_channels + 1)
        tokens, mask = unpack_mask(text)
        output: Tensor = self.network(
            x_t,
            encoder_hidden_states=tokens,
            encoder_attention_mask=mask,
            timestep=t,
            added_cond_kwargs=self._sizes(x_t),
        ).sample
        return output

    def _sizes(self, x_t: Tensor) -> dict[str, Tensor | None]:
        """Sizes that PixArt-alpha at 1024 pixels takes as inputs."""
        if not self.network.use_additional_conditions:
            return {"resolution": None, "aspect_ratio": None}
        size = float(self.image_size)
        return {
            "resolution": x_t.new_full((len(x_t), 2), size),
            "aspect_ratio": x_t.new_ones(len(x_t), 1),
        }
