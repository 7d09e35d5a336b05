"""Ancestral sampling of a prior: the Euler discretization of the backward process (6.1.2; Karras et al., 2022)."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import UserError
from .base import Prior, PromptEmbedding


@torch.no_grad()
def sample_ancestral(
    prior: Prior,
    embedding: PromptEmbedding,
    n: int,
    noise: Callable[[int], Tensor],
    guidance_scale: float = 7.5,
    num_inference_steps: int = 30,
    callback: Callable[[int, Tensor], object] | None = None,
    guide: Callable[[int, Tensor, Tensor], Tensor] | None = None,
) -> Tensor:
    """Draw n samples, (n, *prior.latent_shape).

    Works on x_t / alpha_t, whose noise level is s = sigma_t / alpha_t: each step moves along
    the estimate to a lower level `down` and adds the noise that leads back up to the next level.

    Args:
        noise: maps a step, 0 for the start and 1, 2, ... for the rest, to standard normal noise, (n, ...).
        callback: called after each step with its index and x.
        guide: maps t, x and the noise estimate eps_w to the estimate that is followed instead; None: eps_w itself.

    Raises:
        UserError: num_inference_steps < 1.
    """
    if num_inference_steps < 1:
        raise UserError(f"num_inference_steps={num_inference_steps} is impossible; accepted: an integer of at least 1.")
    timesteps = torch.linspace(prior.num_train_timesteps - 1, 0, num_inference_steps).round().long().tolist()
    levels = [prior.sigma(t) / prior.alpha(t) for t in timesteps]
    levels.append(torch.zeros_like(levels[0]))
    x = noise(0).to(prior.device) * (1 + levels[0] ** 2).sqrt()
    for step, t in enumerate(timesteps):
        s, s_next = levels[step], levels[step + 1]
        estimate = prior.predict_noise(prior.alpha(t) * x, t, embedding, guidance_scale)
        if guide is not None:
            estimate = guide(t, x, estimate)
        up = (s_next**2 * (s**2 - s_next**2) / s**2).sqrt()
        down = (s_next**2 - up**2).sqrt()
        x = x + (down - s) * estimate
        if s_next > 0:
            x = x + up * noise(step + 1).to(x)
        if callback is not None:
            callback(step, x)
    return x
