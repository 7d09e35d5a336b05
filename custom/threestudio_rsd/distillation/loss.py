"""A gradient as a loss, for optimizers that differentiate one."""

from torch import Tensor


def loss_with_gradient(particles: Tensor, gradient: Tensor) -> Tensor:
    """Half the squared norm of `gradient`, with exactly `gradient` as its derivative in the particles: scalar.

    Args:
        particles: any shape.
        gradient: like particles, a constant.
    """
    return (gradient * (particles - particles.detach())).sum() + 0.5 * gradient.square().sum()
