"""Reading of image files of any size and mode."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ..errors import UserError, first_line

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}  # of the images in a folder
SIXTEEN_BIT = 65535


def list_images(path: str | Path, key: str) -> list[Path]:
    """List image files.

    Args:
        path: a file of any name, or a folder.
        key: config key for error messages.

    Returns:
        The file itself; or the images of the folder with one of SUFFIXES, sorted by name, without hidden files.

    Raises:
        UserError: the path does not exist, or the folder has no images.
    """
    root = Path(path)
    accepted = f"accepted: an image file, or a folder of images ({', '.join(sorted(SUFFIXES))})"
    if not str(path):
        raise UserError(f"{key} is empty; {accepted}.")
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise UserError(f"{key}={str(path)!r} does not exist; {accepted}.")
    files = sorted(
        file
        for file in root.iterdir()
        if file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()
    )
    if not files:
        raise UserError(f"{key}={str(path)!r} holds no image; {accepted}.")
    return files


def read_images(path: str, image_size: int) -> Tensor:
    """Read the images that particles start from, the setting `init_path`.

    Args:
        path: image file, or folder of M images, read in the order of their names.
        image_size: side of the result in pixels.

    Returns:
        (M, 3, image_size, image_size) in [0, 1]

    Raises:
        UserError: the path does not exist, or a file cannot be read as an image.
    """
    return torch.stack([read_image(file, image_size, "init_path") for file in list_images(path, "init_path")])


def read_image(file: str | Path, size: int, key: str) -> Tensor:
    """Read the center square of an image, resized (bicubic, antialiased).

    Args:
        file: see `open_image`.
        size: side of the result in pixels.
        key: see `open_image`.

    Returns:
        (3, size, size) in [0, 1]

    Raises:
        UserError: see `open_image`.
    """
    image = open_image(file, key)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    return to_tensor(square.resize((size, size), Image.Resampling.BICUBIC))


def open_image(file: str | Path, key: str) -> Image.Image:
    """Open an image as 8-bit RGB.

    Rotates it upright by its EXIF orientation, puts transparent images on white, scales 16-bit values to 8 bits, and
    repeats gray three times.

    Args:
        file: any format that Pillow reads; the first frame of an animation.
        key: config key for error messages.

    Raises:
        UserError: the file is missing or broken, or has floats outside [0, 1].
    """
    try:
        with Image.open(file) as opened:
            image = ImageOps.exif_transpose(opened)
            image.load()
        return _to_rgb(image)
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise UserError(
            f"{key}: {str(file)!r} cannot be read ({first_line(error)}); accepted: an image that Pillow reads."
        ) from error


def to_tensor(image: Image.Image) -> Tensor:
    """Convert an RGB image to a tensor (3, H, W) in [0, 1]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits; Pillow also opens such files in its 32-bit mode
        return _from_gray(np.asarray(image).astype(np.float64) / SIXTEEN_BIT)
    if image.mode == "F":
        return _from_gray(np.asarray(image).astype(np.float64))
    if "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info:
        transparent = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, transparent).convert("RGB")
    return image.convert("RGB")


def _from_gray(values: np.ndarray[Any, Any]) -> Image.Image:
    if not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(f"values from {values.min():g} to {values.max():g}, outside [0, 1]")
    return Image.fromarray((values * 255).round().astype(np.uint8)).convert("RGB")
