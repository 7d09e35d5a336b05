"""`inverse-problem-datamodule`: images, and the measurements that are made of them."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from omegaconf import OmegaConf
from torch import Tensor

from ...errors import UserError
from ...files import data_path
from ...host import parse_structured, register, warn
from ...images.reading import list_images, read_image
from .empty_batches import ParticleImageDataModule


@register("inverse-problem-datamodule")
class InverseProblemDataModule(ParticleImageDataModule):
    """All images of a run and one measurement of each; a training step is one solver step for all of them.

    Raises:
        UserError: nothing at `image_path`, or an operator that is impossible.
    """

    @dataclass
    class Config:
        image_path: str = "bundled"  # image file, folder of images, or bundled: the examples that ship
        image_size: int | None = None  # side in pixels; null: the prior's, the only one that fits
        batch_size: int | None = None  # images in the networks at once, to save memory; null: all
        operator: dict = field(default_factory=dict)  # see inverse.operators.OperatorConfig

    images: Tensor  # truth, (M, 3, H, W) in [0, 1]
    measurement: Tensor  # y, (M, ...)
    names: list[str]  # of the images, each of them once
    candidates: list[Path]  # files at image_path
    files: list[Path]  # of them, those that could be read
    failed: dict[str, str]  # error by file, of images that cannot be read
    physics: Any

    def __init__(self, cfg: Any = None) -> None:
        super().__init__(cfg)
        from ...inverse.operators import OperatorConfig

        self.operator = cast(OperatorConfig, OmegaConf.to_object(parse_structured(OperatorConfig, self.cfg.operator)))
        bundled = self.cfg.image_path == "bundled"
        self.path = str(data_path("load/inverse/examples")) if bundled else self.cfg.image_path
        self.candidates = list_images(self.path, "data.image_path")
        if self.cfg.batch_size is not None and self.cfg.batch_size < 1:
            raise UserError(f"data.batch_size={self.cfg.batch_size} is impossible; accepted: null or at least 1.")

    def load(self, image_size: int, device: torch.device) -> None:
        """Read the images at the prior's size, build the operator and measure.

        Raises:
            UserError: another image_size than the prior's, no image that can be read, or an impossible operator.
        """
        from ...inverse.operators import build_operator, measure

        wanted = self.cfg.image_size
        if wanted is not None and wanted != image_size:
            raise UserError(f"data.image_size={wanted} does not fit the prior; accepted: null or {image_size}.")
        images, self.files, self.failed = [], [], {}
        for file in self.candidates:
            try:
                images.append(read_image(file, image_size, "data.image_path"))
                self.files.append(file)
            except UserError as error:
                self.failed[file.name] = str(error)
        if not images:
            raise UserError(f"data.image_path={self.path!r} has no image that can be read: {self.first_failure()}")
        if self.failed:
            warn(f"{len(self.failed)} of {len(self.candidates)} images are left out: {self.first_failure()}")
        stems = Counter(file.stem for file in self.files)
        self.names = [file.stem if stems[file.stem] == 1 else file.name for file in self.files]
        self.images = torch.stack(images).to(device)
        self.physics = build_operator(self.operator, (3, image_size, image_size), device)
        with torch.no_grad():
            self.measurement = measure(self.physics, self.images, self.operator)

    def first_failure(self) -> str:
        """Error of the first image that cannot be read."""
        return next(iter(self.failed.values()), "")

    def attributes(self) -> list[dict | None]:
        """What each image is known to show, from `truth.json` beside the images: records with the key `file`."""
        file = Path(self.path) / "truth.json"
        records = json.loads(file.read_text()) if file.is_file() else []
        known = {record["file"]: record for record in records}
        return [known.get(image.name) for image in self.files]
