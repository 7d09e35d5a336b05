"""`particle-camera-datamodule`: random cameras, the same for all particles of a step."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
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
from ...particles.ranks import Shard
from ..prior_config import configured_seed

# With 3 views threestudio 0.2.3 computes wrong cameras: its cross products run along the first axis of length 3, which
# then is the axis of the views.
SKEWED_VIEWS = 3
HALF_TURN = (-1.0, -1.0, 1.0, 1.0)  # diagonal of the rotation by 180 degrees about the z axis, homogeneous coordinates


@dataclass
class ParticleCameraConfig(RandomCameraDataModuleConfig):
    """Keys of the host's random cameras; `batch_size` is the number of views of all particles together."""

    n_particles: int = 1  # N, equal to system.geometry.n_particles
    opposite_views: bool = False  # views of a particle in pairs, 180 degrees apart in azimuth (ours)


class ParticleCameras(RandomCameraIterableDataset):
    """Draws V cameras per step and repeats them N times, so that the kernel compares renders from the same cameras.

    The V azimuths are stratified over the whole circle. The cameras of a step depend only on seed and step, not on N or
    on the step at which a run was resumed. A batch has the host's keys, `n_particles` and `views_per_particle`.

    Args:
        cfg: config of the data module.
        seed: seed of the cameras.
        first_step: function that returns the training step of the first draw; called at that draw. (`update_step` comes
            too late, because data loaders draw ahead.)
        shard: particles of this rank, to whose views batches are limited; None: all.

    Raises:
        UserError: N is below 1, a batch size is not a multiple of N, or threestudio cannot compute the cameras.
    """

    batch_size: int  # views of all particles in the current resolution stage

    def __init__(
        self, cfg: Any, seed: int = 0, first_step: Callable[[], int] = lambda: 0, shard: Shard | None = None
    ) -> None:
        super().__init__(cfg)
        self.seed = seed
        self.first_step = first_step
        self.shard = shard or Shard.whole(cfg.n_particles)
        self.draws = 0
        n = cfg.n_particles
        in_range("data.n_particles", n, 1)
        for size in self.batch_sizes:
            _check_batch_size(size, n, cfg.opposite_views)
        if cfg.opposite_views and tuple(cfg.azimuth_range) != (-180, 180):
            raise UserError(
                f"data.opposite_views=true needs the whole circle, not data.azimuth_range={list(cfg.azimuth_range)}; "
                "accepted: [-180, 180]."
            )
        for key in ("n_val_views", "n_test_views"):
            if HOST == "threestudio" and cfg[key] == SKEWED_VIEWS:
                raise UserError(
                    f"data.{key}=3 is impossible: threestudio 0.2.3 fails on three views; accepted: 2 or 4."
                )

    def collate(self, batch: Any) -> dict[str, Any]:
        """Batch of one step: V views of each of this rank's particles, one particle after the other."""
        if self.draws == 0:
            self.begun_at = self.first_step()
        step = self.begun_at + self.draws
        self.draws += 1
        n, total = self.cfg.n_particles, self.batch_size
        views_per_particle = total // n
        self.batch_size = (
            views_per_particle // 2 if self.cfg.opposite_views else views_per_particle
        )  # drawn by the host
        try:
            with particle_random_state(self.seed, "views", step=step):
                views = super().collate(batch)
        finally:
            self.batch_size = total
        if self.cfg.opposite_views:
            views = add_opposite_views(views)
        repeated = {name: _repeat(value, self.shard.count) for name, value in views.items()}
        return repeated | {"n_particles": n, "views_per_particle": views_per_particle}


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
            spreads = getattr(getattr(self.trainer, "strategy", None), "spreads_particles", False)
            shard = Shard.own(self.cfg.n_particles) if spreads else None
            self.train_dataset = ParticleCameras(self.cfg, self.seed, self._global_step, shard)

    def _global_step(self) -> int:
        return self.trainer.global_step if self.trainer is not None else 0


def _check_batch_size(size: int, n: int, opposite_views: bool) -> None:
    """Check that the particles can share a batch, and that the host computes its cameras correctly."""
    if size % n:
        lower, upper = size // n * n, -(-size // n) * n
        accepted = f"{lower} or {upper}" if lower else str(upper)
        raise UserError(
            f"data.batch_size={size} is not a multiple of data.n_particles={n}; accepted: {accepted}, or "
            "another multiple."
        )
    views = size // n
    if opposite_views and views % 2:
        raise UserError(
            f"data.batch_size={size} gives each of data.n_particles={n} an odd number of views, {views}, which "
            f"data.opposite_views=true cannot pair; accepted: {(views + 1) * n}, or another multiple of {2 * n}."
        )
    pairs = 2 if opposite_views else 1
    if HOST == "threestudio" and views == SKEWED_VIEWS * pairs:
        raise UserError(
            f"data.batch_size={size} gives each of data.n_particles={n} {views} views, whose cameras are wrong in "
            f"threestudio 0.2.3; accepted: {size - pairs * n} or {size + pairs * n}, or another multiple."
        )


def add_opposite_views(views: dict[str, Any]) -> dict[str, Any]:
    """Append to each view the one from the opposite side: camera and light turned by 180 degrees about the z axis.

    Args:
        views: batch of the host's random cameras with V rows.

    Returns:
        batch with 2 V rows.
    """
    turn = torch.tensor(HALF_TURN)
    turned = dict(views)
    for name in ("rays_o", "rays_d", "camera_positions", "light_positions"):
        turned[name] = views[name] * turn[:3].to(views[name])
    turned["c2w"] = turn[:, None].to(views["c2w"]) * views["c2w"]
    turned["mvp_mtx"] = views["mvp_mtx"] * turn.to(views["mvp_mtx"])  # the rotation is its own inverse
    turned["azimuth"] = views["azimuth"] - 180 * views["azimuth"].sign()
    return {
        name: torch.cat([value, turned[name]]) if isinstance(value, Tensor) and value.ndim else value
        for name, value in views.items()
    }


def _repeat(value: Any, n: int) -> Any:
    return value.repeat(n, *[1] * (value.ndim - 1)) if isinstance(value, Tensor) and value.ndim else value
