"""Super-resolution: antialiased bicubic downsampling."""

import math
from typing import Any

import torch
from torch import Tensor

from ...errors import UserError
from .config import ImageShape, OperatorConfig

CUBIC = -0.5  # parameter of the bicubic kernel, as in Pillow, MATLAB and torch's antialiased interpolation


def super_resolution(config: OperatorConfig, shape: ImageShape, generator: torch.Generator) -> Any:
    """Downsampling by `factor` along each side, with circular borders."""
    from deepinv.physics import Downsampling

    factor, sides = config.factor, shape[1:]
    if factor < 1 or any(side % factor for side in sides):
        raise UserError(
            f"operator.factor={factor} does not divide {sides[1]}x{sides[0]} pixels; accepted: a divisor of both sides."
        )
    kernel = bicubic_kernel(factor)
    if kernel.shape[-1] > min(sides):
        raise UserError(
            f"operator.factor={factor} needs images of at least {kernel.shape[-1]} pixels a side, these have "
            f"{sides[1]}x{sides[0]}; accepted: a smaller factor."
        )
    return Downsampling(img_size=shape, filter=kernel, factor=factor, padding="circular")


def bicubic_kernel(factor: int) -> Tensor:
    """Weights (1, 1, n, n) of antialiased bicubic downsampling for deepinv's `Downsampling`.

    deepinv's own weights are centered on the first of the `factor` pixels that become one, which shifts the image;
    these are centered on their middle, as in image libraries.
    """
    middle = (factor - 1) / 2
    reach = math.ceil(middle + 2 * factor) - 1  # the last pixel on which the kernel of radius 2 * factor is not 0
    offset = torch.arange(reach, -reach - 1, -1, dtype=torch.float64)  # descending: a convolution flips its kernel
    x = ((offset - middle) / factor).abs()
    near = (CUBIC + 2) * x**3 - (CUBIC + 3) * x**2 + 1
    far = CUBIC * (x**3 - 5 * x**2 + 8 * x - 4)
    weights = torch.where(x <= 1, near, torch.where(x < 2, far, torch.zeros_like(x)))
    weights = weights / weights.sum()
    return torch.outer(weights, weights)[None, None].float()
