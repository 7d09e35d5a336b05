"""Example images of inverse problems, rendered by `python -m threestudio_rsd.toyworld.examples FOLDER`."""

import json
import sys
from pathlib import Path

import torch

from ..images import save_image
from .model_card import describe
from .render import render_scenes
from .world import CLASSES, COLORS, sample_scenes

SEED = 9_000_001  # no training draws its scenes from seeds this large


def main(folder: Path) -> None:
    """Write one render of each class, each in another color, and `truth.json` with what they show."""
    generator = torch.Generator().manual_seed(SEED)
    scenes = sample_scenes(len(CLASSES), generator)
    scenes.object_class = torch.arange(len(CLASSES))
    scenes.color = torch.randperm(len(COLORS), generator=generator)
    records = describe(scenes)
    for image, record in zip(render_scenes(scenes), records, strict=True):
        record["file"] = f"{record['class']}.png".replace(" ", "-")
        save_image(image, folder / str(record["file"]))
    (folder / "truth.json").write_text(json.dumps(records, indent=2) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
