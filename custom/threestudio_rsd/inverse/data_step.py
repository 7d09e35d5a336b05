"""Data step in pixels: the image closest to a given one that agrees with the measurement."""

import torch
from torch import Tensor

from .problem import Problem

GRADIENT_STEPS = 20  # of Adam, for operators without a proximal map (ours)
LEARNING_RATE = 0.02  # of Adam, images in [0, 1] (ours)
LARGEST_WEIGHT = 1e6  # of the proximal map; deepinv's iterative solvers do not converge far above


def data_step(problem: Problem, images: Tensor, weight: float) -> Tensor:
    """Minimize w |y - A(u)|^2 / 2 + |u - images|^2 / 2 over u, with sums over the entries.

    Linear operators have a proximal map, which is exact; for the others, Adam takes GRADIENT_STEPS steps from `images`.

    Args:
        problem: measurement and operator.
        images: (M, N, C, H, W) in about [0, 1].
        weight: w, variance of the images over that of the measurement's noise.

    Returns:
        u, like `images`.
    """
    weight = min(weight, LARGEST_WEIGHT)
    measurement = problem.measurement.to(images.device)
    if problem.is_linear:
        parts = [problem.physics.prox_l2(part, measurement, weight) for part in images.unbind(1)]
        return torch.stack(parts, 1)
    u = images.detach().clone().requires_grad_()
    adam = torch.optim.Adam([u], LEARNING_RATE)
    with torch.enable_grad():
        for _ in range(GRADIENT_STEPS):
            misfit = (measurement[:, None] - problem.apply_all(u)).abs().square().sum()
            loss = weight * misfit / 2 + (u - images).square().sum() / 2
            adam.zero_grad()
            loss.backward()
            adam.step()
    return u.detach()
