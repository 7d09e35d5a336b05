"""Initial particles of the 2D systems."""

from torch import Tensor

from .randomness import particle_noise


def initial_particles(n: int, shape: tuple[int, ...], seed: int, scale: float = 1.0) -> Tensor:
    """Random particles, (n, *shape): scale times standard normal noise (C.1)."""
    return scale * particle_noise(seed, "initial", 0, n, shape)
