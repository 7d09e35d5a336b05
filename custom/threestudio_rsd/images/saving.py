"""Writing images as PNG files: single images and grids."""

import math
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor


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
