"""Example images of inverse problems: one render of each class of the bundled world."""

import json
from pathlib import Path

import torch

from ..images import save_image
from .captions import describe
from .render import render_scenes
from .world import CLASSES, COLORS, sample_scenes

SEED = 9_000_001  # far above the seeds of the training scenes


def write_examples(folder: Path) -> list[Path]:
    """Write one PNG of each class, each in another color, and `truth.json` with their attributes.

    Args:
        folder: existing folder of the files.

    Returns:
        The files of the images.
    """
    generator = torch.Generator().manual_seed(SEED)
    scenes = sample_scenes(len(CLASSES), generator)
    scenes.object_class = torch.arange(len(CLASSES))
    scenes.color = torch.randperm(len(COLORS), generator=generator)
    records = describe(scenes)
    files = []
    for image, record in zip(render_scenes(scenes), records, strict=True):
        files.append(folder / f"{record['class']}.png".replace(" ", "-"))
        save_image(image, files[-1])
        record["file"] = files[-1].name
    (folder / "truth.json").write_text(json.dumps(records, indent=2) + "\n")
    return files
