"""Conversion of arrays to 8-bit RGB pictures, and grids of pictures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...errors import NonFiniteError, UserError, one_of
from ...files import whole_file


def rgb_picture(image: np.ndarray, data_format: str = "HWC", data_range: tuple = (0, 1)) -> np.ndarray:
    """Convert an image with any number of channels; each group of three channels becomes a picture beside the last.

    Args:
        image: (H, W, C) or (C, H, W).
        data_format: order of the axes: `HWC` or `CHW`.
        data_range: lowest and highest value; ignored for uint8.

    Returns:
        (H, W * ceil(C / 3), 3) uint8
    """
    image = _height_width_channels(image, data_format)
    if image.dtype != np.uint8:
        image = _to_bytes(image, data_range)
    missing = -image.shape[-1] % 3
    image = np.pad(image, ((0, 0), (0, 0), (0, missing)))
    return np.concatenate(np.split(image, image.shape[-1] // 3, axis=-1), axis=1)


def grayscale_picture(image: np.ndarray, data_range: tuple | None = None, cmap: str | None = "jet") -> np.ndarray:
    """Convert an array of numbers, as shades of gray or with a color map.

    Args:
        image: (H, W).
        data_range: lowest and highest value; None: those of the array.
        cmap: color map of matplotlib; None: gray.

    Returns:
        (H, W, 3) uint8
    """
    image = np.nan_to_num(np.asarray(image, dtype=np.float64))
    low, high = data_range if data_range is not None else (image.min(), image.max())
    scaled = (image.clip(low, high) - low) / max(high - low, np.finfo(np.float64).tiny)
    if cmap is None:
        return np.repeat(_to_bytes(scaled[..., None], (0, 1)), 3, axis=-1)
    from matplotlib import colormaps

    return _to_bytes(colormaps[{"spectral": "Spectral"}.get(cmap, cmap)](scaled)[..., :3], (0, 1))


def uv_picture(
    image: np.ndarray, data_format: str = "HWC", data_range: tuple = (0, 1), cmap: str = "checkerboard"
) -> np.ndarray:
    """Convert texture coordinates.

    Args:
        image: (H, W, 2) or (2, H, W).
        data_format: order of the axes: `HWC` or `CHW`.
        data_range: lowest and highest value.
        cmap: `checkerboard`, or `color` for red and green.

    Returns:
        (H, W, 3) uint8
    """
    image = _height_width_channels(image, data_format)
    scaled = (image.clip(*data_range) - data_range[0]) / (data_range[1] - data_range[0])
    if cmap == "color":
        return _to_bytes(np.pad(scaled, ((0, 0), (0, 0), (0, 1))), (0, 1))
    even = (scaled * 64).astype(int).sum(axis=-1) % 2 == 0
    return np.where(even[..., None], [255, 0, 255], [255, 255, 255]).astype(np.uint8)


PICTURES: dict[str, Callable[..., np.ndarray]] = {"rgb": rgb_picture, "grayscale": grayscale_picture, "uv": uv_picture}


def picture_grid(cells: list, align: Any = "max") -> np.ndarray:
    """Join images to one picture.

    Args:
        cells: a row of images, or a list of rows. An image is a dict with `type` (`rgb`, `grayscale` or `uv`), `img`
            and `kwargs`, the further arguments of `rgb_picture`, `grayscale_picture` or `uv_picture`.
        align: size of all images: `max` or `min` of a row, a number of pixels, or (height, width).

    Returns:
        (H, W, 3) uint8
    """
    if isinstance(cells[0], list):
        rows = [picture_grid(row, align) for row in cells]
        width = max(row.shape[1] for row in rows)
        return np.concatenate([np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in rows])
    pictures = [PICTURES[cell["type"]](cell["img"], **cell.get("kwargs", {})) for cell in cells]
    height, width = _cell_size(pictures, align)
    return np.concatenate([_resize(picture, height, width) for picture in pictures], axis=1)


def write_picture(pixels: np.ndarray, path: Path) -> None:
    """Write pixels as a whole file, whose ending is the format.

    Args:
        pixels: 8-bit pixels (H, W), (H, W, 3) or (H, W, 4), or 16-bit pixels (H, W).
        path: file to write or replace.
    """
    Image.init()  # fills the table of endings
    with whole_file(path) as unfinished:
        Image.fromarray(pixels).save(unfinished, Image.EXTENSION.get(path.suffix.lower()))


def _cell_size(pictures: list[np.ndarray], align: Any) -> tuple[int, int]:
    if align in ("max", "min"):
        choose = {"max": max, "min": min}[align]
        return choose(p.shape[0] for p in pictures), choose(p.shape[1] for p in pictures)
    if isinstance(align, int):
        return align, align
    if isinstance(align, tuple | list) and len(align) == 2:
        return align[0], align[1]
    raise UserError(f"align={align!r} is unknown; accepted: max, min, a number or (height, width).")


def _resize(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    if picture.shape[:2] == (height, width):
        return picture
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))


def _height_width_channels(image: np.ndarray, data_format: str) -> np.ndarray:
    one_of("data_format", data_format, ("HWC", "CHW"))
    return image.transpose(1, 2, 0) if data_format == "CHW" else image


def _to_bytes(image: np.ndarray, data_range: tuple) -> np.ndarray:
    if not np.isfinite(image).all():
        raise NonFiniteError("An image has values that are not finite, so it is not written.")
    low, high = data_range
    return ((image.clip(low, high) - low) / (high - low) * 255).astype(np.uint8)
