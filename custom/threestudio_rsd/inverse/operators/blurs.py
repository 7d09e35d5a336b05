"""Linear blurs: a Gaussian kernel and random motion kernels."""

from typing import Any

import torch
from torch import Tensor

from ...errors import UserError, positive
from .config import ImageShape, OperatorConfig

KERNEL_SHARE = 61 / 256  # side of DPS's kernels divided by the image's side (DPS, D.1)


def gaussian_blur(config: OperatorConfig, shape: ImageShape, generator: torch.Generator) -> Any:
    """Blur by a Gaussian of standard deviation `blur_deviation`, with circular borders."""
    from deepinv.physics import BlurFFT

    positive("operator.blur_deviation", config.blur_deviation)
    size = _kernel_size(config, shape)
    return BlurFFT(img_size=shape, filter=gaussian_kernel(size, config.blur_deviation))


def gaussian_kernel(size: int, deviation: float) -> Tensor:
    """Isotropic Gaussian kernel (1, 1, size, size) that sums to 1; deepinv has one of a given size since 0.4.1."""
    offsets = torch.arange(size) - size // 2
    profile = torch.exp(-(offsets**2) / (2 * deviation**2))
    kernel = torch.outer(profile, profile)
    return (kernel / kernel.sum())[None, None]


def motion_blur(config: OperatorConfig, shape: ImageShape, generator: torch.Generator) -> Any:
    """Blur by a random motion kernel, with circular borders."""
    from deepinv.physics import BlurFFT

    return BlurFFT(img_size=shape, filter=motion_kernel(config, shape, generator))


def motion_kernel(config: OperatorConfig, shape: ImageShape, generator: torch.Generator) -> Tensor:
    """Random motion kernel (1, 1, size, size) that sums to 1."""
    from deepinv.physics.generator import MotionBlurGenerator

    size = _kernel_size(config, shape)
    kernel: Tensor = MotionBlurGenerator((size, size), rng=generator).step()["filter"]
    return kernel / kernel.sum()


def _kernel_size(config: OperatorConfig, shape: ImageShape) -> int:
    shorter = min(shape[1:])
    size = config.kernel_size
    if size is None:
        size = int(KERNEL_SHARE * shorter)
        return size if size % 2 else size + 1
    if size < 1 or size % 2 == 0 or size > shorter:
        raise UserError(f"operator.kernel_size={size} is impossible; accepted: odd, 1 to {shorter}, or null.")
    return size
