"""Writing images as PNG files: single images and grids."""

import math
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ..files import whole_file
from ..finite import require_finite


def save_image(image: Tensor, path: Path) -> None:
    """Write an image as a PNG file; makes the folder where it is missing.

    Args:
        image: (3, H, W), or (4, H, W) with opacity, in [0, 1]; values outside are clamped.
        path: file to write.

    Raises:
        NonFiniteError: a value is NaN or infinite.
    """
    require_finite(f"the image {path.name}", image)
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = (image.detach().float().clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu()
    with whole_file(path) as unfinished:
        Image.fromarray(pixels.numpy()).save(unfinished, "PNG")


def save_grid(images: Tensor, path: Path, columns: int | None = None, gap: int = 2) -> None:
    """Write images as one PNG file, row by row on white.

    Args:
        images: (N, 3, H, W) in [0, 1].
        path: file to write.
        columns: images per row; None: about a square, of at least 4 columns.
        gap: pixels between images.
    """
    n, _, height, width = images.shape
    columns = columns or min(n, max(4, math.ceil(math.sqrt(n))))
    rows = math.ceil(n / columns)
    sheet = torch.ones(3, rows * (height + gap) - gap, columns * (width + gap) - gap)
    for index, image in enumerate(images.detach().float().cpu()):
        top, left = index // columns * (height + gap), index % columns * (width + gap)
        sheet[:, top : top + height, left : left + width] = image
    save_image(sheet, path)
