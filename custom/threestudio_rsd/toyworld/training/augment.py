"""Image augmentation that keeps the attributes."""

import torch
import torch.nn.functional as F
from torch import Tensor

SHIFT = 3  # largest random shift of a batch, pixels
BLURRED = 0.3  # share of the images that are blurred
NOISE = 0.06  # largest standard deviation of the noise


def shift_blur_noise(images: Tensor) -> Tensor:
    """Shift images (N, 3, H, W) in [0, 1], blur some, and add noise, so that they resemble samples of a model."""
    padded = F.pad(images, (SHIFT,) * 4, mode="replicate")
    top, left = torch.randint(2 * SHIFT + 1, (2,)).tolist()
    images = padded[..., top : top + images.shape[-2], left : left + images.shape[-1]]
    blurred = F.avg_pool2d(F.pad(images, (1,) * 4, mode="replicate"), 3, 1)
    images = torch.where(torch.rand(len(images), 1, 1, 1) < BLURRED, blurred, images)
    return images + NOISE * torch.rand(len(images), 1, 1, 1) * torch.randn_like(images)
