"""Free-form masks: random brush strokes, as in the literature on inpainting (Yu et al., 2019)."""

import math

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

STROKES = (3, 6)  # how many
CORNERS = (3, 8)  # of a stroke
LENGTH, WIDTH = (0.1, 0.4), (0.06, 0.16)  # of its pieces and of the brush, as shares of the side
MAX_TURN = 2 * math.pi / 5  # from one piece to the next


def free_form_mask(size: int, seed: int) -> Tensor:
    """(1, 1, size, size): 0 under the strokes, 1 elsewhere."""
    random = np.random.default_rng(seed)
    mask = Image.new("L", (size, size), 1)
    draw = ImageDraw.Draw(mask)
    for _ in range(random.integers(*STROKES, endpoint=True)):
        point = random.uniform(0, size, 2)
        angle = random.uniform(0, 2 * math.pi)
        width = random.uniform(*WIDTH) * size
        _dot(draw, point, width)
        for _ in range(random.integers(*CORNERS, endpoint=True)):
            angle += random.uniform(-MAX_TURN, MAX_TURN)
            piece = random.uniform(*LENGTH) * size * np.array([math.cos(angle), math.sin(angle)])
            following = (point + piece).clip(0, size)
            draw.line([*point, *following], fill=0, width=max(1, round(width)))
            _dot(draw, following, width)
            point = following
    return torch.from_numpy(np.array(mask)).float()[None, None]


def _dot(draw: ImageDraw.ImageDraw, centre: np.ndarray, width: float) -> None:
    draw.ellipse([*(centre - width / 2), *(centre + width / 2)], fill=0)
