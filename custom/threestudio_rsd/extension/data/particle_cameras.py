"""`particle-camera-datamodule`: random cameras, the same for all particles of a step."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from ...errors import UserError, in_range
from ...host import (
    HOST,
    RandomCameraDataModule,
    RandomCameraDataModuleConfig,
    RandomCameraIterableDataset,
    parse_structured,
    register,
)
from ...particles.randomness import particle_random_state
from ..prior_config import configured_seed

# With 3 views threestudio 0.2.3 computes wrong cameras: its cross products run along the first axis of length 3, which
# then is the axis of the views.
SKEWED_VIEWS = 3


@dataclass
class ParticleCameraConfig(RandomCameraDataModuleConfig):
    """Keys of the host's random cameras; `batch_size` is the number of views of all particles together."""

    n_particles: int = 1  # N, equal to system.geometry.n_particles


class ParticleCameras(RandomCameraIterableDataset):
    """Draws V cameras per step and repeats them N times, so that the kernel compares renders from the same cameras.

    The V azimuths are stratified over the whole circle. The cameras of a step depend only on seed and step, not on N or
    on the step at which a run was resumed. A batch has the host's keys, `n_particles` and `views_per_particle`.

    Args:
        cfg: config of the data module.
        seed: seed of the cameras.
        first_step: function that returns the training step of the first draw; called at that draw. (`update_step` comes
            too late, because data loaders draw ahead.)

    Raises:
        UserError: N is below 1, a batch size is not a multiple of N, or threestudio cannot compute the cameras.
    """

    batch_size: int  # views of all particles in the current resolution stage

    def __init__(self, cfg: Any, seed: int = 0, first_step: Callable[[], int] = lambda: 0) -> None:
        super().__init__(cfg)
        self.seed = seed
        self.first_step = first_step
        self.draws = 0
        n = cfg.n_particles
        in_range("data.n_particles", n, 1)
        for size in self.batch_sizes:
            if size % n:
                lower, upper = size // n * n, -(-size // n) * n
                accepted = f"{lower} or {upper}" if lower else str(upper)
                raise UserError(
                    f"data.batch_size={size} is not a multiple of data.n_particles={n}; accepted: {accepted}, or "
                    "another multiple."
                )
            if HOST == "threestudio" and size == SKEWED_VIEWS * n:
                raise UserError(
                    f"data.batch_size={size} gives each of data.n_particles={n} three views, whose cameras are "
                    f"wrong in threestudio 0.2.3; accepted: {(SKEWED_VIEWS - 1) * n} or {(SKEWED_VIEWS + 1) * n}, or "
                    "another multiple."
                )
        for key in ("n_val_views", "n_test_views"):
            if HOST == "threestudio" and cfg[key] == SKEWED_VIEWS:
                raise UserError(
                    f"data.{key}=3 is impossible: threestudio 0.2.3 fails on three views; accepted: 2 or 4."
                )

    def collate(self, batch: Any) -> dict[str, Any]:
        """Batch of one step with B = N V rows: V views of each particle, one particle after the other."""
        if self.draws == 0:
            self.begun_at = self.first_step()
        step = self.begun_at + self.draws
        self.draws += 1
        n, total = self.cfg.n_particles, self.batch_size
        self.batch_size = total // n  # number of views that the host draws
        try:
            with particle_random_state(self.seed, "views", step=step):
                views = super().collate(batch)
        finally:
            self.batch_size = total
        repeated = {name: _repeat(value, n) for name, value in views.items()}
        return repeated | {"n_particles": n, "views_per_particle": total // n}


@register("particle-camera-datamodule")
class ParticleCameraDataModule(RandomCameraDataModule):
    """Random cameras of the host, shared by N particles in training; evaluation is the host's.

    Raises:
        UserError: see `ParticleCameras`.
    """

    def __init__(self, cfg: Any = None) -> None:
        pl.LightningDataModule.__init__(self)  # not the host's __init__, whose config class has no `n_particles`
        self.cfg = parse_structured(ParticleCameraConfig, cfg)
        self.seed = configured_seed(None)
        ParticleCameras(self.cfg)  # checks the config before anything is written

    def setup(self, stage: str | None = None) -> None:
        super().setup(stage)
        if stage in (None, "fit"):
            self.train_dataset = ParticleCameras(self.cfg, self.seed, self._global_step)

    def _global_step(self) -> int:
        return self.trainer.global_step if self.trainer is not None else 0


def _repeat(value: Any, n: int) -> Any:
    return value.repeat(n, *[1] * (value.ndim - 1)) if isinstance(value, Tensor) and value.ndim else value
