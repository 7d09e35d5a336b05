"""Particles: their start, their random numbers, their optimizers and their gradients."""

from .initial import initial_particles
from .randomness import particle_chances, particle_noise, particle_timesteps

__all__ = [
    "initial_particles",
    "particle_chances",
    "particle_noise",
    "particle_timesteps",
]
