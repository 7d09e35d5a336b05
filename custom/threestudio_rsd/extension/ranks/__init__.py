"""Particles of a run spread over several processes; importing this package registers the strategy `particles`."""

from .spread import SpreadParticles
from .strategy import ParticleStrategy

__all__ = ["ParticleStrategy", "SpreadParticles"]
