"""Cutting the object of an image out of an even background, in the form that image-to-3D models take."""

import torch
import torch.nn.functional as F
from torch import Tensor

TOLERANCE = 0.1  # largest difference from the background's color, in each channel
EVEN = 0.9  # share of the border that must have the background's color
LEAST, MOST = 0.01, 0.9  # share of an image that an object takes


def find_object(image: Tensor, tolerance: float = TOLERANCE) -> Tensor | None:
    """Mask of the object in front of an even background.

    The background is what is connected with the border and has its color, so that spots of that color within the
    object stay.

    Args:
        image: (3, H, W) in [0, 1].
        tolerance: largest difference from the background's color, the median of the border, in each channel.

    Returns:
        (H, W), true on the object; None where the border has several colors, or what is left is no object.

    Example:
        >>> image = torch.ones(3, 8, 8)
        >>> image[:, 2:6, 2:6] = 0.2
        >>> int(find_object(image).sum())
        16
    """
    border = torch.cat([image[:, 0], image[:, -1], image[:, :, 0], image[:, :, -1]], 1)
    color = border.median(1).values[:, None]
    if ((border - color).abs().amax(0) <= tolerance).float().mean() < EVEN:
        return None
    alike = (image - color[..., None]).abs().amax(0) <= tolerance
    frame = torch.zeros_like(alike)
    frame[0], frame[-1], frame[:, 0], frame[:, -1] = True, True, True, True
    mask = ~_connected(frame & alike, alike)
    return mask if LEAST <= mask.float().mean() <= MOST else None


def _connected(start: Tensor, allowed: Tensor) -> Tensor:
    """Pixels of `allowed` (H, W) that are connected with those of `start`."""
    reached = start
    while True:
        grown = F.max_pool2d(reached[None, None].float(), 3, 1, 1)[0, 0].bool() & allowed
        if torch.equal(grown, reached):
            return reached
        reached = grown


def cut_out(image: Tensor, mask: Tensor, size: int, margin: float = 0.1) -> Tensor:
    """Object in the center of a transparent square.

    Args:
        image: (3, H, W) in [0, 1].
        mask: (H, W), true on the object, which has at least one pixel.
        size: side of the result in pixels.
        margin: share of the side that stays free around the object.

    Returns:
        Red, green, blue and opacity, (4, size, size) in [0, 1]; black where it is transparent.
    """
    rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    left, right = int(columns[0]), int(columns[-1]) + 1
    opacity = mask[top:bottom, left:right].float()
    premultiplied = torch.cat([image[:, top:bottom, left:right] * opacity, opacity[None]])
    scale = size * (1 - 2 * margin) / max(opacity.shape)
    height, width = (max(round(length * scale), 1) for length in opacity.shape)
    resized = F.interpolate(premultiplied[None], (height, width), mode="bilinear", align_corners=False, antialias=True)
    square = torch.zeros(4, size, size)
    y, x = (size - height) // 2, (size - width) // 2
    square[:, y : y + height, x : x + width] = resized[0]
    color = square[:3] / square[3:].clamp_min(1e-4)  # undo the mixing with black at the edge
    return torch.cat([torch.where(square[3:] > 0, color, 0.0), square[3:]]).clamp(0, 1)


def fit_square(image: Tensor, size: int) -> Tensor:
    """Center square of an image (C, H, W), resized to (C, size, size)."""
    height, width = image.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[:, top : top + side, left : left + side]
    return F.interpolate(square[None], (size, size), mode="bicubic", align_corners=False, antialias=True)[0].clamp(0, 1)
