"""Gradient clipping for each particle on its own."""

from collections.abc import Sequence

from torch import Tensor, nn


def clip_particle_gradients(particles: Sequence[nn.Module], max_norm: float) -> list[Tensor]:
    """Clip the gradient of each particle to the 2-norm `max_norm`, independently of the other particles.

    Args:
        particles: one module for each particle, without shared parameters.
        max_norm: largest norm of the gradient of one particle, over all its parameters.

    Returns:
        Norm of each particle's gradient before clipping, scalars.
    """
    return [nn.utils.clip_grad_norm_(list(particle.parameters()), max_norm) for particle in particles]
