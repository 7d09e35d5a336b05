"""World-map noise: one panorama of noise for each particle, cropped where a camera looks (FSD, arXiv 2405.10988)."""

import math

import torch
from torch import Tensor

from ...priors import NoiseLevelInterval
from .sources import NoiseSource


class WorldMapNoise:
    """Noise of the views of each particle that turns with the camera.

    With the field of view of the cameras the noise turns like a panorama at infinity. An object in front of the camera
    moves more slowly across the image: with fov = 360 d tan(fovy / 2) / (pi r) the noise moves like the front of an
    object of radius r at distance d, so that a point of its surface keeps about the same noise in neighboring views.

    Crops start at whole pixels, so that each of them is exactly standard normal; they wrap around in azimuth. Where a
    view is transparent, it takes noise that does not turn.

    Args:
        source: noise of the panoramas, fixed or refreshed; its stream should be `world_map`.
        fov: degrees of the panorama that the height of a view covers.

    Example:
        >>> maps = WorldMapNoise(NoiseSource("fixed", stream="world_map"), fov=40.0)
        >>> azimuth, elevation = torch.tensor([0.0, 360.0]), torch.tensor([15.0, 15.0])
        >>> noise = maps(0, 1, (4, 16, 16), azimuth, elevation)
        >>> noise.shape, bool((noise[0] == noise[1]).all())
        (torch.Size([2, 4, 16, 16]), True)
    """

    def __init__(self, source: NoiseSource, fov: float = 40.0) -> None:
        self.source = source
        self.fov = fov

    def __call__(
        self,
        step: int,
        n_particles: int,
        shape: tuple[int, ...],
        azimuth: Tensor,
        elevation: Tensor,
        constant: Tensor | None = None,
        opacity: Tensor | None = None,
        first: int = 0,
        total: int | None = None,
    ) -> Tensor:
        """Noise of N V views, particle by particle.

        Args:
            step: training step.
            n_particles: N.
            shape: (C, H, W) of one view in the space of the prior.
            azimuth: azimuth of each camera in degrees, (N V,).
            elevation: elevation of each camera in degrees, (N V,).
            constant: noise that transparent pixels take, (N V, C, H, W); None: none.
            opacity: opacity of each view at any resolution, (N V, 1, h, w) in [0, 1]; None: opaque.
            first: index of the first particle.
            total: see `NoiseSource`.

        Returns:
            (N V, C, H, W)
        """
        channels, height, width = shape
        per_degree = height / self.fov
        around, down = round(360 * per_degree), round(180 * per_degree)
        size = (channels, down + height, around + width)
        maps = self.source(step, n_particles, size, first=first, total=total).clone()
        maps[..., around:] = maps[..., :width]  # wraps around in azimuth
        views = len(azimuth) // n_particles
        left = (azimuth * per_degree).round().long().remainder(around).tolist()
        top = ((90 - elevation).clamp(0, 180) * per_degree).round().long().tolist()
        crops = [
            maps[index // views, :, y : y + height, x : x + width]
            for index, (y, x) in enumerate(zip(top, left, strict=True))
        ]
        noise = torch.stack(crops).to(azimuth.device)
        if constant is None or opacity is None:
            return noise
        seen = torch.nn.functional.interpolate(opacity, (height, width), mode="area") > 0.5
        return torch.where(seen, noise, constant)


def world_map_share(level: float, interval: NoiseLevelInterval | None) -> float:
    """Share of the variance that views take from the world map, the rest being noise that does not turn.

    Above the interval it is 0: there the noise decides what a particle becomes, and noise that differs between views
    would leave that to their mean. Below the interval it is 1, so that the views do not become one picture. Between, it
    is linear in log(level).

    Args:
        level: noise level sigma / alpha.
        interval: levels over which the share changes; None: 1 at all levels.

    Example:
        >>> interval = NoiseLevelInterval(2.0, 8.0)
        >>> [world_map_share(level, interval) for level in (10.0, 4.0, 1.0)]
        [0.0, 0.5, 1.0]
    """
    if interval is None or level <= interval.low:
        return 1.0
    if level >= interval.high:
        return 0.0
    return math.log(interval.high / level) / math.log(interval.high / interval.low)
