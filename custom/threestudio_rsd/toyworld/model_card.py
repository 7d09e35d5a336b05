"""Pictures of the bundled world: renders with their attributes, and the model card's samples beside renders."""

import json
from pathlib import Path

import torch
from torch import Tensor

from ..images.saving import save_grid, save_image
from .captions import caption, describe
from .render import IMAGE_SIZE, render_scenes
from .sampling import Request, draw_samples
from .world import CLASSES, Scene, choose_scenes

SIDE = 8  # images along each side of a square of the card
CARD_GUIDANCE_SCALE = 3.0
CARD_SEED = 50_000


def save_renders(scenes: Scene, folder: Path) -> list[Path]:
    """Render scenes into PNG files named by number, color, class and view, `grid.png`, and `attributes.json`.

    Args:
        scenes: scenes to render.
        folder: existing folder of the files.

    Returns:
        The files of the single images.
    """
    images = render_scenes(scenes)
    records = describe(scenes)
    digits = len(str(len(scenes) - 1))
    files = []
    for i, (image, record) in enumerate(zip(images, records, strict=True)):
        words = "_".join(str(record[name]).replace(" ", "-") for name in ("color", "class", "view"))
        files.append(folder / f"{i:0{digits}d}_{words}.png")
        save_image(image, files[-1])
        record["file"] = files[-1].name
    save_grid(images, folder / "grid.png")
    (folder / "attributes.json").write_text(json.dumps(records, indent=2) + "\n")
    return files


def save_cards(models: Path, folder: Path, workers: int) -> list[Path]:
    """Write the pictures of the model card.

    For each class one PNG with 8x8 samples of the prompt `a CLASS` on the left and 8x8 renders of the class on the
    right, and `overview.png` with one row of each class.

    Args:
        models: folder of the bundled world.
        folder: existing folder of the pictures.
        workers: number of processes.

    Returns:
        The files.
    """
    n = SIDE**2
    requests = {
        name: Request((caption(i),) * n, CARD_GUIDANCE_SCALE, CARD_SEED + i * n) for i, name in enumerate(CLASSES)
    }
    samples = draw_samples(requests, models, workers)
    renders = {name: render_scenes(choose_scenes(n, CARD_SEED + i, name)) for i, name in enumerate(CLASSES)}
    squares = {name.replace(" ", "-"): (samples[name], renders[name]) for name in CLASSES}
    first = [torch.cat([images[name][:SIDE] for name in CLASSES]) for images in (samples, renders)]
    files = []
    for name, (left, right) in {**squares, "overview": tuple(first)}.items():
        files.append(folder / f"{name}.png")
        save_grid(side_by_side(left, right), files[-1], columns=2 * SIDE + 1)
    return files


def side_by_side(left: Tensor, right: Tensor) -> Tensor:
    """Rows of 8 images of `left`, a white image and 8 images of `right`.

    Args:
        left: images (64, 3, 64, 64).
        right: images (64, 3, 64, 64).

    Returns:
        Images (8 * 17, 3, 64, 64), row by row.
    """
    white = torch.ones(SIDE, 1, 3, IMAGE_SIZE, IMAGE_SIZE)
    squares = [images.unflatten(0, (SIDE, SIDE)) for images in (left, right)]
    return torch.cat([squares[0], white, squares[1]], 1).flatten(0, 1)
