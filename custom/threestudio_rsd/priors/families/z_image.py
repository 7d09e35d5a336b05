"""Z-Image (Alibaba Tongyi, 2025, arXiv 2511.22699)."""

from typing import Any

import torch
from torch import Tensor

from .base import FlowFamilyPrior
from .packing import pack_mask, unpack_mask
from .registry import register_prior


@register_prior("z-image", ("ZImagePipeline", "ZImageImg2ImgPipeline"))
class ZImagePrior(FlowFamilyPrior):
    """Z-Image and Z-Image-Turbo. Arguments: see `FlowFamilyPrior`.

    Its pipeline adds guidance to the conditional prediction: its guidance_scale g is w = g + 1 here.
    """

    network_class = "ZImageTransformer2DModel"

    @classmethod
    def patch_size(cls, config: Any) -> int:
        """See `FamilyPrior.patch_size`."""
        return int(config.all_patch_size[0])

    @classmethod
    def encode_text(cls, pipe: Any, prompt: str, is_negative: bool, device: torch.device) -> Tensor:
        """See `FamilyPrior.encode_text`."""
        tokens, _ = pipe.encode_prompt([prompt], device=device, do_classifier_free_guidance=False)
        return pack_mask(tokens[0], None)

    def velocity(self, x_t: Tensor, flow_time: Tensor, text: Tensor) -> Tensor:
        """See `FlowPrior.velocity`; the network's time is 1 - s, and it predicts x_0 - noise."""
        self.check_text(text, self.network.config.cap_feat_dim + 1)
        tokens, mask = unpack_mask(text)
        prompts = [row[: int(length)] for row, length in zip(tokens, mask.sum(1).tolist(), strict=True)]
        output = self.network(list(x_t[:, :, None].unbind(0)), 1 - flow_time, prompts).sample
        return -torch.stack(list(output))[:, :, 0]
