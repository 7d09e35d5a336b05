"""JPEG compression by Pillow, differentiable by a straight-through gradient."""

import io
from typing import Any

import numpy as np
import torch
from deepinv.physics import Physics
from PIL import Image
from torch import Tensor


class JPEG(Physics):
    """Encode and decode images without chroma subsampling.

    The gradient is that of the identity for pixels in [0, 1], and zero for pixels beyond.

    Args:
        quality: 1 to 100, in the scale of the Independent JPEG Group's library.
    """

    def __init__(self, quality: int) -> None:
        super().__init__()
        self.quality = quality

    def A(self, x: Tensor, **kwargs: Any) -> Tensor:  # noqa: N802 deepinv's name
        """(B, 3, H, W) -> (B, 3, H, W) in [0, 1], rounded to 8 bits before and after."""
        clamped = x.clamp(0, 1)
        levels = (clamped.detach() * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        decoded = torch.stack([self._compress(image) for image in levels]).to(x) / 255
        return decoded + (clamped - clamped.detach())

    def _compress(self, image: np.ndarray) -> Tensor:
        """Levels (H, W, 3) -> levels (3, H, W), uint8."""
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=self.quality, subsampling=0)
        return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)
