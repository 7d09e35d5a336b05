"""Free-form masks: random brush strokes, as in the inpainting literature (Yu et al., 2019; Palette, [48])."""

import math

import torch
from torch import Tensor

from ...errors import UserError

# Yu et al.'s Algorithm 1: a stroke is a polyline that turns left and right alternately, drawn by a round brush.
REFERENCE_SIDE = 256  # image side in pixels for which WIDTH is given
VERTICES = (4, 12)  # number of vertices of a stroke, uniform
TURN = (2 * math.pi / 5, 2 * math.pi / 15)  # radians: mean of the turning angle, and half the range; uniform
LENGTH = (1 / 8, 1 / 16)  # segment length divided by the diagonal: mean, deviation; normal, cut to [0, twice the mean]
WIDTH = (12, 40)  # width of the brush, in pixels at REFERENCE_SIDE, uniform
MAX_STROKES = 1000


def free_form_mask(height: int, width: int, share: float, generator: torch.Generator) -> Tensor:
    """Mask (1, height, width) of random brush strokes; 1 = seen, 0 = hidden.

    Args:
        height: pixels.
        width: pixels.
        share: strokes are added until they hide at least this share of the pixels.
        generator: random number generator of the strokes.

    Raises:
        UserError: the strokes hide every pixel.
    """
    hidden = torch.zeros(height, width, dtype=torch.bool)
    for _ in range(MAX_STROKES):
        if hidden.float().mean() >= share:
            break
        hidden |= _stroke(height, width, generator)
    if hidden.all():
        raise UserError(f"operator.stroke_share={share} hides all of {height}x{width} pixels; accepted: less.")
    return (~hidden).float()[None]


def _stroke(height: int, width: int, generator: torch.Generator) -> Tensor:
    """Pixels (height, width) covered by one stroke: those within half the brush's width of its polyline."""

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    point = torch.tensor([uniform(0, height), uniform(0, width)])
    count = int(torch.randint(VERTICES[0], VERTICES[1] + 1, (), generator=generator))
    radius = uniform(*WIDTH) * min(height, width) / REFERENCE_SIDE / 2
    diagonal, limits = math.hypot(height, width), torch.tensor([height, width]).float()
    rows, columns = torch.arange(height) + 0.5, torch.arange(width) + 0.5
    pixels = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1)
    covered = torch.zeros(height, width, dtype=torch.bool)
    for vertex in range(count):
        angle = uniform(TURN[0] - TURN[1], TURN[0] + TURN[1])
        angle = 2 * math.pi - angle if vertex % 2 == 0 else angle
        length = LENGTH[0] + LENGTH[1] * float(torch.randn((), generator=generator))
        length = min(max(length, 0.0), 2 * LENGTH[0]) * diagonal
        end = torch.minimum((point + length * torch.tensor([math.cos(angle), math.sin(angle)])).clamp_min(0), limits)
        covered |= _distance_to_segment(pixels, point, end) <= radius
        point = end
    return covered


def _distance_to_segment(pixels: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Distances (H, W) of pixels (H, W, 2) to the segment between two points (2,)."""
    along = end - start
    position = ((pixels - start) @ along / along.square().sum().clamp_min(1e-12)).clamp(0, 1)
    distance: Tensor = (pixels - start - position[..., None] * along).norm(dim=-1)
    return distance
