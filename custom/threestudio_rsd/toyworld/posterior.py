"""Scenes of the bundled world that agree with a measurement: samples of the true posterior, up to a tolerance.

Approximate Bayesian computation with a shrinking threshold (Sisson et al., 2007; Beaumont et al., 2009): a population
of scenes moves by steps that leave the world's distribution invariant, and a step is kept only if the render's
measurement differs from the given one by at most the threshold.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property

import torch
from torch import Tensor

from .render import render_scenes
from .world import (
    ACCENTS,
    BACKGROUNDS,
    COLORS,
    DISTANCES,
    ELEVATIONS,
    FOVYS,
    HEIGHTS,
    OVERHEAD_ELEVATIONS,
    OVERHEAD_SHARE,
    SIZES,
    Camera,
    Scene,
    choose_scenes,
)

TOLERANCE = 0.03  # root mean square of the difference of measurements; about the error of the prior's autoencoder
ROUNDS = 25  # least number of steps of the population
MIXING_ROUNDS = 10  # further steps once half of the population agrees
MOST_ROUNDS = 150  # a population of which less than half agrees by then keeps those that do
RESOLUTION = 32  # side of the renders that are compared, pixels; half the images' side, in a quarter of the time
POOL, POOL_SEED = 4000, 90_000  # scenes from which the population starts; no training used the seed
RECOLORED = 0.2  # chance that a step draws an attribute anew
TURNED = 0.2  # chance that a step mirrors the azimuth or draws it anew

# Order of the continuous attributes in a table of scenes, their bounds, and the standard deviation of a small step.
CONTINUOUS = ("size", "height", "azimuth", "elevation", "distance", "fovy")
LOW = torch.tensor([SIZES[0], HEIGHTS[0], -180.0, ELEVATIONS[0], DISTANCES[0], FOVYS[0]])
HIGH = torch.tensor([SIZES[1], HEIGHTS[1], 180.0, OVERHEAD_ELEVATIONS[1], DISTANCES[1], FOVYS[1]])
SMALL_STEP = torch.tensor([0.003, 0.003, 1.0, 0.5, 0.003, 0.03])
DISCRETE = {"color": len(COLORS), "accent": len(ACCENTS), "background": len(BACKGROUNDS)}


@dataclass
class AgreeingScenes:
    """Scenes whose measurement agrees with a given one.

    Attributes:
        scenes: S scenes; some may be equal.
        residual: root mean square of the difference of measurements, (S,).
    """

    scenes: Scene
    residual: Tensor


class ScenePool:
    """Scenes drawn from the world's distribution and their small renders, from which populations start.

    Args:
        size: number of scenes.
        resolution: side of the renders, pixels.
    """

    def __init__(self, size: int = POOL, resolution: int = RESOLUTION) -> None:
        self.resolution = resolution
        self.scenes = choose_scenes(size, POOL_SEED)

    @cached_property
    def renders(self) -> Tensor:
        """Small renders of the scenes, made when a search first needs them."""
        return self.render(self.scenes)

    def render(self, scenes: Scene, shown: Tensor | None = None) -> Tensor:
        """Small renders, (S, 3, resolution, resolution) in [0, 1]; `shown` as in `render_scenes`."""
        return render_scenes(scenes, self.resolution, shown=shown)


class ScenePosterior:
    """Sampler of the scenes that agree with a measurement.

    Args:
        operator: measures renders of the pool's size, (S, 3, H, W) in [0, 1] -> (S, ...), without noise.
        pool: scenes from which populations start.
        shown: pixels that the operator looks at, booleans (resolution, resolution); None: all.
    """

    def __init__(self, operator: Callable[[Tensor], Tensor], pool: ScenePool, shown: Tensor | None = None) -> None:
        self.operator = operator
        self.shown = shown
        self.pool = pool
        self.measured = operator(pool.renders)

    def sample(
        self,
        measurement: Tensor,
        n: int,
        start: Scene,
        seed: int = 0,
        tolerance: float = TOLERANCE,
        rounds: int = ROUNDS,
    ) -> AgreeingScenes:
        """Draw scenes that agree with a measurement.

        Args:
            measurement: measurement of a render of the sampler's resolution, (...).
            n: size of the population.
            start: scenes that agree, such as the one that was measured; the population holds them from the start.
            seed: seed of the steps.
            tolerance: largest residual of a scene.
            rounds: least number of steps of the population.

        Returns:
            At most n scenes: those of the population that agree. No step changes the class of a scene.

        Raises:
            RuntimeError: none agrees after MOST_ROUNDS steps.
        """
        generator = torch.Generator().manual_seed(seed)
        found = _residual(self.measured, measurement)
        best = found.argsort()[: n - len(start)]
        tables = zip(to_tables(start), to_tables(self.pool.scenes.select(best)), strict=True)
        continuous, discrete = (torch.cat(pair) for pair in tables)
        started = _residual(self.operator(self.pool.render(start)), measurement)
        residual = torch.cat([started, found[best]])
        n = len(residual)  # fewer where the pool is small
        steps, mixed = 0, 0
        while steps < rounds or (mixed < MIXING_ROUNDS and steps < MOST_ROUNDS):
            steps += 1
            threshold = max(tolerance, float(residual.median()))
            mixed += threshold == tolerance
            inside = (residual <= threshold).nonzero()[:, 0]
            keep = torch.where(
                residual <= threshold, torch.arange(n), inside[torch.randint(len(inside), (n,), generator=generator)]
            )
            continuous, discrete, residual = continuous[keep], discrete[keep], residual[keep]
            moved, recolored = _move(continuous, generator), _recolor(discrete, generator)
            possible = torch.rand(n, generator=generator) < _density(moved) / _density(continuous)
            if not possible.any():
                continue
            images = self.pool.render(to_scenes(moved[possible], recolored[possible]), self.shown)
            found = torch.full((n,), torch.inf)
            found[possible] = _residual(self.operator(images), measurement)
            accepted = found <= threshold
            continuous[accepted], discrete[accepted] = moved[accepted], recolored[accepted]
            residual[accepted] = found[accepted]
        agreeing = residual <= tolerance
        if not agreeing.any():
            raise RuntimeError(f"No scene agrees with the measurement up to {tolerance}; take a larger population.")
        return AgreeingScenes(to_scenes(continuous[agreeing], discrete[agreeing]), residual[agreeing])


def _residual(measured: Tensor, measurement: Tensor) -> Tensor:
    return (measured - measurement).flatten(1).square().mean(1).sqrt()


def to_tables(scenes: Scene) -> tuple[Tensor, Tensor]:
    """Continuous attributes (S, 6), and class, color, accent and background (S, 4)."""
    camera = {field.name: torch.as_tensor(getattr(scenes.camera, field.name)) for field in fields(Camera)}
    continuous = torch.stack([{"size": scenes.size, "height": scenes.height, **camera}[name] for name in CONTINUOUS], 1)
    return continuous, torch.stack([scenes.object_class, scenes.color, scenes.accent, scenes.background], 1)


def to_scenes(continuous: Tensor, discrete: Tensor) -> Scene:
    """Inverse of `to_tables`."""
    object_class, color, accent, background = discrete.unbind(1)
    size, height, azimuth, elevation, distance, fovy = continuous.unbind(1)
    camera = Camera(azimuth, elevation, distance, fovy)
    return Scene(object_class, color, accent, background, size, height, camera)


def _move(continuous: Tensor, generator: torch.Generator) -> Tensor:
    """Proposals: symmetric steps along differences of the population, and turns of some objects."""
    n = len(continuous)
    first, second = torch.randint(n, (2, n), generator=generator).unbind()
    difference = continuous[first] - continuous[second]
    azimuth = CONTINUOUS.index("azimuth")
    difference[:, azimuth] = _wrap(difference[:, azimuth])
    scale = torch.rand(n, 1, generator=generator)
    moved = continuous + scale * difference + SMALL_STEP * torch.randn(n, len(CONTINUOUS), generator=generator)
    old = continuous[:, azimuth]
    anywhere = 360 * torch.rand(n, generator=generator) - 180
    turns = torch.stack([-old, 180 - old, anywhere])[torch.randint(3, (n,), generator=generator), torch.arange(n)]
    turned = torch.rand(n, generator=generator) < TURNED
    moved[:, azimuth] = _wrap(torch.where(turned, turns, moved[:, azimuth]))
    return moved


def _recolor(discrete: Tensor, generator: torch.Generator) -> Tensor:
    """Proposals of color, accent and background; the class stays."""
    drawn = discrete.clone()
    for column, count in enumerate(DISCRETE.values(), start=1):
        chosen = torch.rand(len(drawn), generator=generator) < RECOLORED
        drawn[chosen, column] = torch.randint(count, (len(drawn),), generator=generator)[chosen]
    return drawn


def _density(continuous: Tensor) -> Tensor:
    """Density of the world's distribution up to a factor, (S,); only the elevation is not uniform."""
    inside = ((continuous >= LOW) & (continuous <= HIGH)).all(1)
    overhead = continuous[:, CONTINUOUS.index("elevation")] > OVERHEAD_ELEVATIONS[0]
    low = (1 - OVERHEAD_SHARE) / (ELEVATIONS[1] - ELEVATIONS[0])
    high = OVERHEAD_SHARE / (OVERHEAD_ELEVATIONS[1] - OVERHEAD_ELEVATIONS[0])
    return torch.where(overhead, high, low) * inside


def _wrap(degrees: Tensor) -> Tensor:
    return (degrees + 180) % 360 - 180
