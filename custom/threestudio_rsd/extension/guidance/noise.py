"""Noise of the guidance modules: its config keys, and the noise of the rows of a batch."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...distillation import NOISE_KINDS, NoiseSource, WorldMapNoise, refresh_noise, select_noise, world_map_share
from ...errors import UserError, fits_memory, in_range, one_of, positive
from ...host import get_device
from ...particles import particle_noise, ranks
from ...particles.ranks import Shard
from ...priors import Prior, PromptEmbedding
from ...priors.noise_levels import interval_from, noise_level
from ...repulsion import load_features

VIEW_NOISES = ("constant", "world-map")


@dataclass
class NoiseConfig:
    """Keys of the noise that is added to the particles."""

    noise: str = "fresh"  # fresh in each step (SDS), fixed for the run (clean flow), or refreshed (Yan et al., 2025)
    # refreshed: share g of the noise's variance that is replaced in a step, in [0, 1]; number or schedule
    noise_refresh_rate: Any = 0.0
    noise_coupled: bool = False  # noises with mean zero over the particles and correlation -1 / (N - 1) (ours)
    noise_candidates: int = 0  # select the N initial noises farthest apart in `features` among so many; 0: none (ours)
    view_noise: str = "constant"  # noise of a particle's views: constant, or world-map (FSD); fixed and refreshed
    # Degrees of a world map that the height of a view covers: the cameras' fovy (FSD), or 360 d tan(fovy / 2) / (pi r),
    # with which the noise moves like the front of an object of radius r at distance d (ours).
    world_map_fov: float = 40.0
    # Levels sigma / alpha [low, high]: constant noise above, the map below, a blend between (ours); null: the map alone
    world_map_interval: list[float] | None = None


class GuidanceNoise:
    """Noise of the rows of a batch, a function of (seed, step, particle, camera).

    Args:
        cfg: config of the guidance module.
        rate: maps a step to the refresh rate g.
        prior: the diffusion model.
        seed: seed of the run.

    Raises:
        UserError: an impossible value, or keys that exclude each other.
    """

    def __init__(self, cfg: Any, rate: Any, prior: Prior, seed: int) -> None:
        one_of("noise", cfg.noise, NOISE_KINDS)
        one_of("view_noise", cfg.view_noise, VIEW_NOISES)
        in_range("noise_candidates", cfg.noise_candidates, 0)
        fits_memory("noise_candidates", cfg.noise_candidates, cfg.noise_candidates * math.prod(prior.latent_shape) * 4)
        if cfg.noise != "refreshed" and cfg.noise_refresh_rate != 0:
            raise UserError(f"noise_refresh_rate={cfg.noise_refresh_rate} needs noise='refreshed', not {cfg.noise!r}.")
        if cfg.noise == "fresh" and (cfg.view_noise != "constant" or cfg.noise_candidates):
            raise UserError(
                "view_noise='world-map' and noise_candidates are impossible with noise='fresh'; accepted with them: "
                "noise='fixed' or 'refreshed'."
            )
        self.cfg, self.prior, self.seed = cfg, prior, seed
        self._map_interval = interval_from("world_map_interval", cfg.world_map_interval)
        if self._map_interval is not None and self._map_interval.low == 0:
            raise UserError(
                f"world_map_interval={cfg.world_map_interval} is impossible; accepted: noise levels 0 < low <= high."
            )
        if self._map_interval is not None and cfg.view_noise != "world-map":
            raise UserError("world_map_interval needs view_noise='world-map', not 'constant'.")
        if cfg.view_noise == "world-map" and cfg.noise_candidates and self._map_interval is None:
            raise UserError(
                "noise_candidates selects noise that all views share; accepted with it: view_noise='constant', or a "
                "world_map_interval, above which views share their noise."
            )
        refresh_rate = rate if cfg.noise == "refreshed" else 0.0
        self.source = NoiseSource(cfg.noise, refresh_rate, cfg.noise_coupled, seed)
        positive("world_map_fov", cfg.world_map_fov)
        map_source = NoiseSource(cfg.noise, refresh_rate, cfg.noise_coupled, seed, "world_map")
        self.world_map = WorldMapNoise(map_source, cfg.world_map_fov)
        self._selected: list[int] | None = None

    def __call__(
        self,
        step: int,
        shape: torch.Size,
        views_per_particle: int,
        t: int,
        max_t: int,
        embedding: PromptEmbedding,
        batch: dict[str, Any],
        shard: Shard | None = None,
    ) -> Tensor:
        """Noise of a step.

        Args:
            step: training step.
            shape: shape of the rows, (N V, C, H, W).
            views_per_particle: V.
            t: timestep of the step.
            max_t: largest timestep of the run.
            embedding: the prompt, for `noise_candidates`.
            batch: data of the step; `azimuth` and `elevation` (degrees), and `opacity`, for world maps.
            shard: particles of this rank, whose views are the rows; None: the rows are those of all particles.

        Returns:
            (N V, C, H, W)
        """
        row_shape, device = tuple(shape[1:]), self.prior.device
        shard = shard or Shard.whole(shape[0] // views_per_particle)
        if self.cfg.noise == "fresh":  # each view has its own
            rows = shard.views(views_per_particle)
            return self.source(step, rows.count, row_shape, device, rows.first, rows.total)
        n_particles = shard.count
        if self.cfg.noise_candidates and self._selected is None:
            self._selected = ranks.share(self._select(shard.total, row_shape, max_t, embedding))
            self.source.indices = self._selected
        noise = self.source(step, n_particles, row_shape, device, shard.first, shard.total)
        noise = noise.repeat_interleave(views_per_particle, 0)
        if self.cfg.view_noise == "constant":
            return noise
        share = world_map_share(noise_level(self.prior, t), self._map_interval)
        if share == 0:
            return noise
        opacity = batch.get("opacity")
        turning = self.world_map(
            step,
            n_particles,
            row_shape,
            batch["azimuth"],
            batch["elevation"],
            noise,
            None if opacity is None else opacity.detach().permute(0, 3, 1, 2),
            shard.first,
            shard.total,
        )
        return refresh_noise(noise, turning, share)

    def _select(self, n_particles: int, shape: tuple[int, ...], max_t: int, embedding: PromptEmbedding) -> list[int]:
        candidates = particle_noise(self.seed, "noise", 0, self.cfg.noise_candidates, shape, self.prior.device)
        features = load_features(self.cfg.features, bundled=self.prior.is_bundled, device=get_device())
        one = PromptEmbedding(embedding.conditional[:1], embedding.unconditional[:1], embedding.negative[:1])
        return select_noise(self.prior, one, candidates, n_particles, max_t, features)
