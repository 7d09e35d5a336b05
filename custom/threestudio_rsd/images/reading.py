"""Reading of image files of any size and mode."""

import functools
import logging
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ..errors import UserError, first_line, valid_text

SUFFIXES = {".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff"}  # of the images in a folder
OTHER_SUFFIXES = {".avif", ".heic", ".heif", ".jp2", ".jxl", ".exr", ".hdr", ".npy", ".svg", ".tga", ".ppm"}  # not read
SIXTEEN_BIT = 65535
OPAQUE = 255  # largest value of an 8-bit channel
DARK = 0.25  # a 16-bit image whose values are all below this share of the range may have fewer bits
logger = logging.getLogger("threestudio_rsd")


def list_images(path: str | Path, key: str) -> list[Path]:
    """List image files.

    Args:
        path: a file of any name, or a folder.
        key: config key for error messages.

    Returns:
        The file itself; or the images of the folder with one of SUFFIXES, sorted by name, without hidden files. A
        warning names images of other formats, which are left out.

    Raises:
        UserError: the path does not exist, the folder has no images or cannot be read, or a name is not UTF-8.
    """
    root = Path(os.path.expanduser(path))  # noqa: PTH111 Path.expanduser() raises for an unknown user
    accepted = f"accepted: an image file, or a folder of images ({', '.join(sorted(SUFFIXES))})"
    if not str(path):
        raise UserError(f"{key} is empty; {accepted}.")
    try:
        if root.is_file():
            valid_text(f"The file name of {key}", root.name)  # results get it
            return [root]
        if not root.is_dir():
            raise UserError(f"{key}={str(path)!r} does not exist; {accepted}.")
        shown = sorted(file for file in root.iterdir() if not file.name.startswith(".") and file.is_file())
    except OSError as error:
        raise UserError(f"{key}={str(path)!r} cannot be read ({error.strerror}); {accepted}.") from error
    files = [file for file in shown if file.suffix.lower() in SUFFIXES]
    if not files:
        raise UserError(f"{key}={str(path)!r} holds no image; {accepted}.")
    for file in files:
        valid_text(f"A file name in {key}", file.name)
    left_out = [file.name for file in shown if file.suffix.lower() in OTHER_SUFFIXES]
    if left_out:
        logger.warning("%s: left out, because their format is not read: %s", key, ", ".join(left_out))
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
    repeats gray three times. Warns where this loses something: further frames, or a range that is hardly used.

    Args:
        file: any format that Pillow reads; the first frame of an animation.
        key: config key for error messages.

    Raises:
        UserError: the file is missing or broken, or has floats outside [0, 1].
    """
    with _reading(file, key) as image:
        _warn_about_range(image, file, key)
        return _to_rgb(image)


def open_mask(file: str | Path, key: str) -> Tensor:
    """Open an image as a mask: its alpha channel if it is transparent anywhere, else its brightness.

    Args:
        file: see `open_image`.
        key: see `open_image`.

    Returns:
        (1, H, W) in [0, 1]

    Raises:
        UserError: see `open_image`.
    """
    with _reading(file, key) as image:
        if _is_transparent(image):
            alpha = image.convert("RGBA").getchannel("A")
            if np.asarray(alpha).min() < OPAQUE:
                return to_tensor(alpha.convert("RGB"))[:1]
    return to_tensor(open_image(file, key)).mean(0, keepdim=True)


@contextmanager
def _reading(file: str | Path, key: str) -> Iterator[Image.Image]:
    """The first frame of an image file, upright; errors of Pillow in the `with` block are the user's."""
    path = os.path.expanduser(file)  # noqa: PTH111 Path.expanduser() raises for an unknown user
    try:
        with Image.open(path) as opened:
            frames = getattr(opened, "n_frames", 1)
            if frames > 1:
                _warn_once(f"{key}: {str(file)!r} has {frames} frames; only the first is read.")
            image = ImageOps.exif_transpose(opened)
            image.load()
        yield image
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise UserError(
            f"{key}: {str(file)!r} cannot be read ({first_line(error)}); accepted: an image that Pillow reads."
        ) from error


def _is_transparent(image: Image.Image) -> bool:
    return "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info


def _warn_about_range(image: Image.Image, file: str | Path, key: str) -> None:
    """Warn of values that use a small part of the file's range, such as 12 bits in 16 or a mask of 0 and 1 in 8."""
    is_wide = image.mode.startswith("I")
    if not is_wide and image.mode not in ("L", "RGB", "RGBA"):
        return
    largest, full = int(np.asarray(image).max()), SIXTEEN_BIT if is_wide else OPAQUE
    if 0 < largest < (DARK * full if is_wide else 2):
        _warn_once(
            f"{key}: {str(file)!r} has values from 0 to {largest}, of {full} that its format has: it is read as nearly "
            f"black. If {largest.bit_length()} bits are meant, scale it."
        )


@functools.cache  # a file may be read several times
def _warn_once(message: str) -> None:
    logger.warning(message)


def to_tensor(image: Image.Image) -> Tensor:
    """Convert an RGB image to a tensor (3, H, W) in [0, 1]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits; Pillow also opens such files in its 32-bit mode
        return _from_gray(np.asarray(image).astype(np.float64) / SIXTEEN_BIT)
    if image.mode == "F":
        return _from_gray(np.asarray(image).astype(np.float64))
    if _is_transparent(image):
        transparent = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, transparent).convert("RGB")
    return image.convert("RGB")


def _from_gray(values: np.ndarray[Any, Any]) -> Image.Image:
    if not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(f"values from {values.min():g} to {values.max():g}, outside [0, 1]")
    return Image.fromarray((values * 255).round().astype(np.uint8)).convert("RGB")
