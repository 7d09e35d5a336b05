"""Training and held-out images, rendered once in shards and stored as uint8 files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..render import render_scenes
from ..world import Camera, Scene, sample_scenes
from . import settings


@dataclass
class Renders:
    """Rendered images with their scenes.

    Attributes:
        images: (N, 3, 64, 64), uint8.
        scenes: the N scenes.
    """

    images: Tensor
    scenes: Scene

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, index: Tensor) -> Tensor:
        """Images with these indices, (len(index), 3, 64, 64) in [0, 1]."""
        return self.images[index].float() / 255


def shard_seeds(images: int, first_seed: int) -> list[int]:
    """Consecutive seeds, one per shard.

    Args:
        images: number of images in all shards.
        first_seed: seed of the first shard.
    """
    return [first_seed + i for i in range(images // settings.SHARD)]


def all_seeds() -> list[int]:
    """Seeds of all training and held-out shards."""
    training = shard_seeds(settings.TRAIN_IMAGES, settings.TRAIN_SEED)
    return training + shard_seeds(settings.HELD_OUT_IMAGES, settings.HELD_OUT_SEED)


def render_shards(folder: Path, seeds: list[int]) -> None:
    """Render and save the shards whose files are missing.

    Args:
        folder: folder of the shards.
        seeds: seeds of the shards.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        file = shard_file(folder, seed)
        if not file.is_file():
            images = (render_scenes(_scenes(seed)) * 255).round().to(torch.uint8)
            temporary = file.with_suffix(".tmp.npy")
            np.save(temporary, images.numpy())
            temporary.replace(file)


def load_renders(folder: Path, held_out: bool = False) -> Renders:
    """Load all training images, or all held-out ones.

    Args:
        folder: folder of the shards.
        held_out: load the held-out images instead of the training images.
    """
    if held_out:
        seeds = shard_seeds(settings.HELD_OUT_IMAGES, settings.HELD_OUT_SEED)
    else:
        seeds = shard_seeds(settings.TRAIN_IMAGES, settings.TRAIN_SEED)
    images = torch.cat([torch.from_numpy(np.load(shard_file(folder, seed))) for seed in seeds])
    return Renders(images, _concatenate([_scenes(seed) for seed in seeds]))


def shard_file(folder: Path, seed: int) -> Path:
    """Path of the shard with this seed."""
    return folder / f"renders-{seed}.npy"


def _scenes(seed: int) -> Scene:
    return sample_scenes(settings.SHARD, torch.Generator().manual_seed(seed))


def _concatenate(scenes: list[Scene]) -> Scene:
    own = {
        name: torch.cat([getattr(scene, name) for scene in scenes])
        for name in ("object_class", "color", "accent", "background", "size", "height")
    }
    camera = {name: torch.cat([getattr(scene.camera, name) for scene in scenes]) for name in vars(scenes[0].camera)}
    return Scene(**own, camera=Camera(**camera))
