"""Gradient clipping for each particle on its own."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

EPSILON = 1e-6  # added to norms before the division; as in torch.nn.utils.clip_grad_norm_


def clip_particle_gradients(particles: Sequence[nn.Module], max_norm: float) -> list[Tensor]:
    """Clip the gradient of each particle to the 2-norm `max_norm`, independently of the other particles.

    Args:
        particles: one module for each particle, without shared parameters.
        max_norm: largest norm of the gradient of one particle, over all its parameters.

    Returns:
        Norm of each particle's gradient before clipping, scalars.
    """
    return [nn.utils.clip_grad_norm_(list(particle.parameters()), max_norm) for particle in particles]


def clip_row_gradients(parameter: nn.Parameter, max_norm: float) -> Tensor:
    """Clip the gradient of each row of a parameter to the 2-norm `max_norm`, independently of the other rows.

    Args:
        parameter: particles (N, ...), with a gradient.
        max_norm: largest norm of the gradient of one particle.

    Returns:
        Norm of each particle's gradient before clipping, (N,).
    """
    assert parameter.grad is not None
    norms: Tensor = torch.linalg.vector_norm(parameter.grad.flatten(1), dim=1)
    scale = (max_norm / (norms + EPSILON)).clamp_max(1)
    parameter.grad.mul_(scale.view(-1, *[1] * (parameter.ndim - 1)))
    return norms
