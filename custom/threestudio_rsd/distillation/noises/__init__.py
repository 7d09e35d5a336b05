"""Noise that is added to the particles: sources, selection, and noise that turns with the camera."""

from .selection import select_distant, select_noise
from .sources import NOISE_KINDS, NoiseSource, couple_noise, refresh_noise
from .world_map import WorldMapNoise, world_map_share

__all__ = [
    "NOISE_KINDS",
    "NoiseSource",
    "WorldMapNoise",
    "couple_noise",
    "refresh_noise",
    "select_distant",
    "select_noise",
    "world_map_share",
]
