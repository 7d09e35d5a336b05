"""JPEG compression without its lossless half, so that gradients pass.

Rounding has the gradient of the identity (the straight-through estimator). Colours are not subsampled.
"""

import math

import torch
from deepinv.physics import Physics
from torch import Tensor

from ..errors import UserError

BLOCK = 8
# Tables K.1 and K.2 of ITU-T T.81, row by row.
LUMINANCE = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51,
    87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
CHROMINANCE = (
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66,
    *[99] * 38,
)  # fmt: skip
TO_YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


class JPEG(Physics):
    """Images (M, 3, H, W) in [0, 1] to what a JPEG of them shows, alike.

    Args:
        quality: 1 to 100, in the scale of the Independent JPEG Group.

    Raises:
        UserError: another quality.
    """

    cosines: Tensor
    tables: Tensor
    to_ycbcr: Tensor

    def __init__(self, quality: int) -> None:
        super().__init__()
        if not 1 <= quality <= 100:
            raise UserError(f"quality={quality} is impossible; accepted: 1 to 100.")
        scale = 50 / quality if quality < 50 else 2 - quality / 50
        tables = torch.tensor([LUMINANCE, CHROMINANCE, CHROMINANCE], dtype=torch.float32)
        self.register_buffer("tables", (tables * scale + 0.5).floor().clamp(1, 255).view(3, 1, BLOCK, 1, BLOCK))
        self.register_buffer("cosines", _cosines())
        self.register_buffer("to_ycbcr", torch.tensor(TO_YCBCR))

    def A(self, x: Tensor, **kwargs: object) -> Tensor:
        rows, columns = (size // BLOCK for size in x.shape[-2:])
        values = (
            torch.einsum("ij,mjhw->mihw", self.to_ycbcr, 255 * x) - torch.tensor([128.0, 0, 0]).to(x)[:, None, None]
        )
        blocks = values.unflatten(2, (rows, BLOCK)).unflatten(4, (columns, BLOCK))  # (M, 3, rows, 8, columns, 8)
        coefficients = torch.einsum("ui,mcriqj,vj->mcruqv", self.cosines, blocks, self.cosines) / self.tables
        rounded = coefficients + (coefficients.round() - coefficients).detach()
        blocks = torch.einsum("ui,mcruqv,vj->mcriqj", self.cosines, rounded * self.tables, self.cosines)
        values = blocks.flatten(4, 5).flatten(2, 3) + torch.tensor([128.0, 0, 0]).to(x)[:, None, None]
        return (torch.einsum("ij,mjhw->mihw", torch.linalg.inv(self.to_ycbcr), values) / 255).clamp(0, 1)


def _cosines() -> Tensor:
    """Orthonormal DCT-II, (frequency, place)."""
    place, frequency = torch.arange(BLOCK) + 0.5, torch.arange(BLOCK)[:, None]
    cosines = (math.pi * frequency * place / BLOCK).cos() * (2 / BLOCK) ** 0.5
    cosines[0] /= 2**0.5
    return cosines
