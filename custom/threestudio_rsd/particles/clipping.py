"""Gradient clipping that leaves each particle its own share."""

from collections.abc import Sequence

from torch import Tensor, nn


def clip_particle_gradients(particles: Sequence[nn.Module], max_norm: float) -> list[Tensor]:
    """Scale each particle's gradient down to the 2-norm `max_norm` where it is longer, whatever the others' are.

    Args:
        particles: one module for each particle, with no parameter in common.
        max_norm: longest norm of the gradient of one particle, all its parameters together.

    Returns:
        the norm of each particle's gradient before clipping, scalars.
    """
    return [nn.utils.clip_grad_norm_(list(particle.parameters()), max_norm) for particle in particles]
