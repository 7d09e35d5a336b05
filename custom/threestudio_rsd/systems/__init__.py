"""Registered systems and their data."""

from . import (
    ancestral,
    data,
    dreamfusion,
    images,
    inverse,
    inverse_data,
    particle_cameras,
    particle_guidance,
    prolificdreamer,
)

__all__ = [
    "ancestral",
    "data",
    "dreamfusion",
    "images",
    "inverse",
    "inverse_data",
    "particle_cameras",
    "particle_guidance",
    "prolificdreamer",
]
