"""`inverse-problem-datamodule`: images and their measurements."""

import json
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from omegaconf import OmegaConf
from torch import Tensor

from ...errors import UserError, first_line, in_range, one_of
from ...files import data_path
from ...host import parse_structured, register, warn
from ...images.reading import list_images, read_image
from ...toyworld.world import CLASSES
from .empty_batches import ParticleImageDataModule


@register("inverse-problem-datamodule")
class InverseProblemDataModule(ParticleImageDataModule):
    """Images of a run with one measurement each; a training step is one solver step for all of them.

    Raises:
        UserError: there is no image at `image_path`, or the operator is invalid.
    """

    @dataclass
    class Config:
        image_path: str = "bundled"  # image file, folder of images, or bundled: the example images of this package
        image_size: int | None = None  # side in pixels; null, or the size of the prior: no other works
        batch_size: int | None = None  # images per call of the networks, to save memory; null: all
        operator: dict = field(default_factory=dict)  # see inverse.operators.OperatorConfig

    images: Tensor  # true images, (M, 3, H, W) in [0, 1]
    measurement: Tensor  # measurement y of each image, (M, ...)
    names: list[str]  # unique name of each image
    candidates: list[Path]  # files at image_path
    files: list[Path]  # files that could be read
    failed: dict[str, str]  # file name -> error, for images that cannot be read
    physics: Any

    def __init__(self, cfg: Any = None) -> None:
        super().__init__(cfg)
        from ...inverse.operators import OperatorConfig

        self.operator = cast(OperatorConfig, OmegaConf.to_object(parse_structured(OperatorConfig, self.cfg.operator)))
        bundled = self.cfg.image_path == "bundled"
        own = os.path.expanduser(self.cfg.image_path)  # noqa: PTH111 Path.expanduser() raises for an unknown user
        self.path = str(data_path("load/inverse/examples")) if bundled else own
        self.candidates = list_images(self.path, "data.image_path")
        self.known = _read_truth(Path(self.path))
        if self.cfg.batch_size is not None:
            in_range("data.batch_size", self.cfg.batch_size, 1, kind="null or an integer")

    def load(self, image_size: int, device: torch.device) -> None:
        """Read the images, build the operator and measure each image once.

        Args:
            image_size: side of the prior's images, pixels.
            device: device of images and measurements.

        Raises:
            UserError: `data.image_size` differs from the prior's, no image can be read, or the operator is invalid.
        """
        from ...inverse.operators import build_operator, measure

        wanted = self.cfg.image_size
        if wanted is not None and wanted != image_size:
            raise UserError(f"data.image_size={wanted} does not match the prior; accepted: null or {image_size}.")
        self.failed = {}
        images = {file: image for file in self.candidates if (image := self._read(file, image_size)) is not None}
        self.files = list(images)
        if not images:
            raise UserError(f"data.image_path={self.path!r} has no image that can be read: {self.first_failure()}")
        if self.failed:
            warn(f"{len(self.failed)} of {len(self.candidates)} images are left out: {self.first_failure()}")
        stems = Counter(file.stem for file in self.files)
        self.names = [file.stem if stems[file.stem] == 1 else file.name for file in self.files]
        self.images = torch.stack(list(images.values())).to(device)
        self.physics = build_operator(self.operator, (3, image_size, image_size), device)
        with torch.no_grad():
            self.measurement = measure(self.physics, self.images, self.operator)

    def _read(self, file: Path, image_size: int) -> Tensor | None:
        """Read an image; None if that fails, with the error in `self.failed`."""
        try:
            return read_image(file, image_size, "data.image_path")
        except UserError as error:
            self.failed[file.name] = str(error)
            return None

    def first_failure(self) -> str:
        """Error of the first image that cannot be read; empty if there is none."""
        return next(iter(self.failed.values()), "")

    def attributes(self) -> list[dict | None]:
        """Known contents of each image: its record in `truth.json` beside the images, None if it has none."""
        return [self.known.get(image.name) for image in self.files]


def _read_truth(folder: Path) -> dict[str, dict]:
    """Records of `truth.json` in a folder of images by file name; empty where there is no such file.

    Raises:
        UserError: it is no list of objects with a `file` and a known `class`.
    """
    path = folder / "truth.json"
    if not path.is_file():
        return {}
    try:
        known = {str(record["file"]): dict(record) for record in json.loads(path.read_text(encoding="utf-8"))}
        for record in known.values():
            one_of("class", record["class"], CLASSES)
        return known
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"{str(path)!r} does not describe images ({first_line(error)}); accepted: a list of objects with `file`, "
            "`class` and `color`, as `rsd toyworld examples` writes it, or no such file."
        ) from error
