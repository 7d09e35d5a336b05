"""`particle-camera-datamodule`: in each step the same random cameras for every particle."""

from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from ..errors import UserError
from ..host import (
    RandomCameraDataModule,
    RandomCameraDataModuleConfig,
    RandomCameraIterableDataset,
    parse_structured,
    register,
)


@dataclass
class ParticleCameraConfig(RandomCameraDataModuleConfig):
    """The host's keys; `batch_size` counts the views of all particles together."""

    n_particles: int = 1  # N, as system.geometry.n_particles


class ParticleCameras(RandomCameraIterableDataset):
    """Draws V cameras and repeats them N times, particle by particle, so that a kernel compares like with like.

    The V azimuths spread over the whole circle, and the draw does not depend on N. A batch says `n_particles` and
    `views_per_particle`, besides what the host's does.

    Raises:
        UserError: fewer than one particle, or a batch size that does not divide by N.
    """

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        n = cfg.n_particles
        if n < 1:
            raise UserError(f"data.n_particles={n} is impossible; accepted: an integer of at least 1.")
        for size in self.batch_sizes:
            if size % n:
                lower, upper = size // n * n, -(-size // n) * n
                accepted = f"{lower} or {upper}" if lower else str(upper)
                raise UserError(
                    f"data.batch_size={size} does not divide among data.n_particles={n}; accepted: {accepted}, or "
                    "another multiple."
                )

    def collate(self, batch: Any) -> dict[str, Any]:
        """Cameras of one step, B = N V rows."""
        n, total = self.cfg.n_particles, self.batch_size
        self.batch_size = total // n  # what the host's draw goes by
        try:
            views = super().collate(batch)
        finally:
            self.batch_size = total
        repeated = {name: _repeat(value, n) for name, value in views.items()}
        return repeated | {"n_particles": n, "views_per_particle": total // n}


@register("particle-camera-datamodule")
class ParticleCameraDataModule(RandomCameraDataModule):
    """The host's random cameras, shared by N particles; evaluation is the host's.

    Raises:
        UserError: see `ParticleCameras`.
    """

    def __init__(self, cfg: Any = None) -> None:
        pl.LightningDataModule.__init__(self)  # the host's own would parse the config without `n_particles`
        self.cfg = parse_structured(ParticleCameraConfig, cfg)
        ParticleCameras(self.cfg)  # its checks, before anything is written

    def setup(self, stage: str | None = None) -> None:
        super().setup(stage)
        if stage in (None, "fit"):
            self.train_dataset = ParticleCameras(self.cfg)


def _repeat(value: Any, n: int) -> Any:
    return value.repeat(n, *[1] * (value.ndim - 1)) if isinstance(value, Tensor) and value.ndim else value
