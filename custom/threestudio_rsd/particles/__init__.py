"""What is optimised, and the randomness that belongs to each particle."""

from .images import initial_particles, read_images, save_grid, save_image
from .randomness import particle_chances, particle_noise, particle_timesteps

__all__ = [
    "initial_particles",
    "particle_chances",
    "particle_noise",
    "particle_timesteps",
    "read_images",
    "save_grid",
    "save_image",
]
