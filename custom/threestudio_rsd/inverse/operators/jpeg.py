"""JPEG at a quality, differentiable by a straight-through gradient."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from deepinv.physics import Physics
from torch import Tensor

BLOCK = 8  # pixels along a side
LEVELS = 255
MIDDLE = 128  # level that the transform counts from

# ITU-T T.81, Annex K: quantization steps at quality 50.
LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
) + ((99,) * BLOCK,) * 4

# JFIF: luminance, and differences of blue and red from it, scaled to the same range.
RED, GREEN, BLUE = 0.299, 0.587, 0.114
RGB_TO_YCBCR = (
    (RED, GREEN, BLUE),
    (-RED / (2 - 2 * BLUE), -GREEN / (2 - 2 * BLUE), 0.5),
    (0.5, -GREEN / (2 - 2 * RED), -BLUE / (2 - 2 * RED)),
)


class JPEG(Physics):
    """Encode and decode without chroma subsampling, (B, 3, H, W) in [0, 1] -> the same.

    Colors to YCbCr, 8x8 cosine transform, division by the steps, rounding, and back; borders are repeated up to full
    blocks, as encoders do. The rounding, whose gradient is zero almost everywhere, passes gradients through as if it
    were not there, so that the gradient of the whole is that of the identity; where the decoded image is clipped to
    [0, 1] it is zero.

    Args:
        quality: 1 to 100, in the scale of the Independent JPEG Group's library.
    """

    def __init__(self, quality: int) -> None:
        super().__init__()
        scale = 5000 // quality if quality < 50 else 200 - 2 * quality
        tables = torch.tensor([LUMINANCE, CHROMINANCE, CHROMINANCE])
        self.register_buffer("steps", ((tables * scale + 50) // 100).clamp(1, 255).float()[:, None, None])
        self.register_buffer("transform", cosine_transform(BLOCK).float())
        self.register_buffer("to_ycbcr", torch.tensor(RGB_TO_YCBCR, dtype=torch.float64).float())
        self.register_buffer("to_rgb", torch.tensor(RGB_TO_YCBCR, dtype=torch.float64).inverse().float())

    def A(self, x: Tensor, **kwargs: Any) -> Tensor:
        height, width = x.shape[-2:]
        padded = F.pad(x, (0, -width % BLOCK, 0, -height % BLOCK), mode="replicate")
        levels = padded * LEVELS - MIDDLE  # gray of MIDDLE is 0 in all three channels of YCbCr
        # To whole levels, as encoders store them before the transform.
        stored = round_straight_through(torch.einsum("yc,bchw->byhw", self.to_ycbcr, levels))
        coefficients = self.transform @ _split(stored) @ self.transform.T
        quantized = round_straight_through(coefficients / self.steps) * self.steps
        decoded = _join(self.transform.T @ quantized @ self.transform)
        rgb = torch.einsum("cy,byhw->bchw", self.to_rgb, decoded)
        return ((rgb + MIDDLE) / LEVELS)[..., :height, :width].clamp(0, 1)


def cosine_transform(n: int) -> Tensor:
    """Orthonormal matrix (n, n) of the cosine transform (DCT-II): coefficients = matrix @ values, float64."""
    frequency, position = torch.arange(n, dtype=torch.float64)[:, None], torch.arange(n, dtype=torch.float64)
    matrix = math.sqrt(2 / n) * torch.cos(math.pi * (2 * position + 1) * frequency / (2 * n))
    matrix[0] /= math.sqrt(2)
    return matrix


def round_straight_through(x: Tensor) -> Tensor:
    """Nearest integers, with the gradient of x itself."""
    return x + (x.round() - x).detach()


def _split(image: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, 3, H / 8, W / 8, 8, 8)."""
    return image.unflatten(-1, (-1, BLOCK)).unflatten(-3, (-1, BLOCK)).transpose(-3, -2)


def _join(blocks: Tensor) -> Tensor:
    """(B, 3, H / 8, W / 8, 8, 8) -> (B, 3, H, W)."""
    return blocks.transpose(-3, -2).flatten(-2).flatten(-3, -2)
