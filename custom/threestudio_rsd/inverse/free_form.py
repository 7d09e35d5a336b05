"""Free-form masks: random brush strokes, as in the literature on inpainting (Yu et al., 2019)."""

import math

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

CORNERS = 3, 8  # of a stroke
LENGTH, WIDTH = (0.1, 0.4), (0.06, 0.16)  # of its pieces and of the brush, as shares of the longer side
MAX_TURN = 2 * math.pi / 5  # from one piece to the next


def free_form_mask(height: int, width: int, share: float, generator: torch.Generator) -> Tensor:
    """(1, height, width): 0 under strokes, drawn until they hide at least a share of the pixels, 1 elsewhere."""

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    mask = Image.new("L", (width, height), 1)
    draw = ImageDraw.Draw(mask)
    side = max(height, width)
    while np.array(mask).mean() > 1 - share:
        point = np.array([uniform(0, width), uniform(0, height)])
        angle, brush = uniform(0, 2 * math.pi), uniform(*WIDTH) * side
        _dot(draw, point, brush)
        for _ in range(int(uniform(CORNERS[0], CORNERS[1] + 1))):
            angle += uniform(-MAX_TURN, MAX_TURN)
            piece = uniform(*LENGTH) * side * np.array([math.cos(angle), math.sin(angle)])
            following = (point + piece).clip(0, (width, height))
            draw.line([*point, *following], fill=0, width=max(1, round(brush)))
            _dot(draw, following, brush)
            point = following
    return torch.from_numpy(np.array(mask)).float()[None]


def _dot(draw: ImageDraw.ImageDraw, centre: np.ndarray, width: float) -> None:
    draw.ellipse([*(centre - width / 2), *(centre + width / 2)], fill=0)
