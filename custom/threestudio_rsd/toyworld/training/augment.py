"""Changes of an image that leave its attributes as they are."""

import torch
import torch.nn.functional as F
from torch import Tensor

SHIFT = 3  # pixels by which a batch is moved at random, at most
BLURRED = 0.3  # share of the images
NOISE = 0.06  # largest standard deviation


def shift_blur_noise(images: Tensor) -> Tensor:
    """Images (N, 3, H, W) in [0, 1], moved, some blurred, all noisy: more like those that a model makes."""
    padded = F.pad(images, (SHIFT,) * 4, mode="replicate")
    top, left = torch.randint(2 * SHIFT + 1, (2,)).tolist()
    images = padded[..., top : top + images.shape[-2], left : left + images.shape[-1]]
    blurred = F.avg_pool2d(F.pad(images, (1,) * 4, mode="replicate"), 3, 1)
    images = torch.where(torch.rand(len(images), 1, 1, 1) < BLURRED, blurred, images)
    return images + NOISE * torch.rand(len(images), 1, 1, 1) * torch.randn_like(images)
