"""Pictures of the bundled world: renders with their attributes, and samples beside renders for the model card."""

import json
from pathlib import Path

import torch
from torch import Tensor

from ..images.saving import save_grid, save_image
from .captions import caption
from .render import IMAGE_SIZE, render_scenes
from .sampling import Request, draw_samples
from .world import ACCENTS, BACKGROUNDS, CLASSES, COLORS, VIEWS, Scene, sample_scenes

SIDE = 8  # images along each side of a card's square
CARD_GUIDANCE_SCALE = 3.0
CARD_SEED = 50_000


def choose_scenes(
    count: int,
    seed: int,
    object_class: str | None = None,
    color: str | None = None,
    azimuth: float | None = None,
    elevation: float | None = None,
) -> Scene:
    """Random scenes in which some things are as given; the others do not depend on what is given."""
    scenes = sample_scenes(count, torch.Generator().manual_seed(seed))
    if object_class is not None:
        scenes.object_class.fill_(CLASSES.index(object_class))
    if color is not None:
        scenes.color.fill_(COLORS.index(color))
    if azimuth is not None:
        torch.as_tensor(scenes.camera.azimuth).fill_(azimuth)
    if elevation is not None:
        torch.as_tensor(scenes.camera.elevation).fill_(elevation)
    return scenes


def save_renders(scenes: Scene, folder: Path) -> list[Path]:
    """Write every scene as a PNG named by its number, class, color and view, `grid.png`, and `attributes.json`."""
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


def describe(scenes: Scene) -> list[dict[str, str | float]]:
    """Attributes of every scene, in words and numbers."""
    names = {"class": CLASSES, "color": COLORS, "view": VIEWS, "accent": ACCENTS, "background": BACKGROUNDS}
    labels = scenes.labels()
    numbers = {"size": scenes.size, "height": scenes.height, **vars(scenes.camera)}
    return [
        {
            "caption": caption(int(labels["class"][i]), int(labels["color"][i]), int(labels["view"][i])),
            **{name: words[int(labels[name][i])] for name, words in names.items()},
            **{name: round(float(values[i]), 4) for name, values in numbers.items()},
        }
        for i in range(len(scenes))
    ]


def save_cards(models: Path, folder: Path, workers: int) -> list[Path]:
    """For each class, one PNG with 8x8 samples of `a CLASS` on the left and 8x8 renders of the class on the right; and
    `overview.png` with a row of each.

    Args:
        models: folder of the bundled world.
        folder: where the pictures go.
        workers: processes.
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
    """Rows of 8 images of `left`, a white one and 8 of `right`, each (64, 3, 64, 64): (8 * 17, 3, 64, 64)."""
    white = torch.ones(SIDE, 1, 3, IMAGE_SIZE, IMAGE_SIZE)
    squares = [images.unflatten(0, (SIDE, SIDE)) for images in (left, right)]
    return torch.cat([squares[0], white, squares[1]], 1).flatten(0, 1)
