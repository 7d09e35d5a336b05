"""`particle-camera-datamodule`: in each step the same random cameras for every particle."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from ...errors import UserError
from ...host import (
    HOST,
    RandomCameraDataModule,
    RandomCameraDataModuleConfig,
    RandomCameraIterableDataset,
    parse_structured,
    register,
)
from ...particles.randomness import particle_random_state

# threestudio takes cross products along the first axis of length 3, and that of a batch of views is their number.
SKEWED_VIEWS = 3


@dataclass
class ParticleCameraConfig(RandomCameraDataModuleConfig):
    """The host's keys; `batch_size` counts the views of all particles together."""

    n_particles: int = 1  # N, as system.geometry.n_particles


class ParticleCameras(RandomCameraIterableDataset):
    """Draws V cameras and repeats them N times, particle by particle, so that a kernel compares like with like.

    The V azimuths spread over the whole circle. The draw depends on seed and step alone, so neither on N nor on where
    a run was resumed. A batch says `n_particles` and `views_per_particle`, besides what the host's does.

    Args:
        cfg: the module's config.
        seed: of the cameras.
        first_step: asked at the first draw; the step that it is for. (Loaders draw ahead: `update_step` is too late.)

    Raises:
        UserError: fewer than one particle, a batch size that does not divide by N, or what threestudio cannot do.
    """

    batch_size: int  # of the stage, all particles together

    def __init__(self, cfg: Any, seed: int = 0, first_step: Callable[[], int] = lambda: 0) -> None:
        super().__init__(cfg)
        self.seed = seed
        self.first_step = first_step
        self.draws = 0
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
            if HOST == "threestudio" and size == SKEWED_VIEWS * n:
                raise UserError(
                    f"data.batch_size={size} gives each of data.n_particles={n} three views, whose cameras threestudio "
                    f"0.2.3 skews; accepted: {(SKEWED_VIEWS - 1) * n} or {(SKEWED_VIEWS + 1) * n}, or another multiple."
                )
        for key in ("n_val_views", "n_test_views"):
            if HOST == "threestudio" and cfg[key] == SKEWED_VIEWS:
                raise UserError(
                    f"data.{key}=3 is impossible: threestudio 0.2.3 fails on three views; accepted: 2 or 4."
                )

    def collate(self, batch: Any) -> dict[str, Any]:
        """Cameras of one step, B = N V rows."""
        if self.draws == 0:
            self.begun_at = self.first_step()
        step = self.begun_at + self.draws
        self.draws += 1
        n, total = self.cfg.n_particles, self.batch_size
        self.batch_size = total // n  # what the host's draw goes by
        try:
            with particle_random_state(self.seed, "views", step=step):
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
        self.seed = torch.initial_seed() % 2**32  # the run's
        ParticleCameras(self.cfg)  # its checks, before anything is written

    def setup(self, stage: str | None = None) -> None:
        super().setup(stage)
        if stage in (None, "fit"):
            self.train_dataset = ParticleCameras(self.cfg, self.seed, self._global_step)

    def _global_step(self) -> int:
        return self.trainer.global_step if self.trainer is not None else 0


def _repeat(value: Any, n: int) -> Any:
    return value.repeat(n, *[1] * (value.ndim - 1)) if isinstance(value, Tensor) and value.ndim else value
