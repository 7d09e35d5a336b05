"""Images and latents as particles (the identity generator)."""

import math
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from .image_files import list_images, read_image
from .randomness import particle_noise


def read_images(path: str, image_size: int) -> Tensor:
    """One image file, or every image of a folder in the order of their names: (M, 3, image_size, image_size) in [0, 1].

    Raises:
        UserError: nothing there, or a file that is no image.
    """
    return torch.stack([read_image(file, image_size, "init_path") for file in list_images(path, "init_path")])


def initial_particles(n: int, shape: tuple[int, ...], seed: int, scale: float = 1.0) -> Tensor:
    """Random particles, (n, *shape): scale times standard normal noise (C.1)."""
    return scale * particle_noise(seed, "initial", 0, n, shape)


def save_image(image: Tensor, path: Path) -> None:
    """Write one image (3, H, W) in [0, 1] as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = (image.detach().float().clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu()
    Image.fromarray(pixels.numpy()).save(path)


def save_grid(images: Tensor, path: Path, columns: int | None = None, gap: int = 2) -> None:
    """Write images (N, 3, H, W) in [0, 1] as one PNG, row by row, `gap` white pixels apart."""
    n, _, height, width = images.shape
    columns = columns or min(n, max(4, math.ceil(math.sqrt(n))))
    rows = math.ceil(n / columns)
    sheet = torch.ones(3, rows * (height + gap) - gap, columns * (width + gap) - gap)
    for index, image in enumerate(images.detach().float().cpu()):
        top, left = index // columns * (height + gap), index % columns * (width + gap)
        sheet[:, top : top + height, left : left + width] = image
    save_image(sheet, path)
