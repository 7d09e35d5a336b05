"""Initial particles of the 2D systems."""

from torch import Tensor

from .randomness import particle_noise


def initial_particles(n_particles: int, shape: tuple[int, ...], seed: int, scale: float = 1.0) -> Tensor:
    """Random initial particles: scale times standard normal noise (C.1).

    Args:
        n_particles: number of particles N.
        shape: shape of one particle.
        seed: seed of the noise.
        scale: standard deviation.

    Returns:
        (N, *shape)

    Example:
        >>> initial_particles(4, (3, 64, 64), seed=0).shape
        torch.Size([4, 3, 64, 64])
    """
    return scale * particle_noise(seed, "initial", 0, n_particles, shape)
