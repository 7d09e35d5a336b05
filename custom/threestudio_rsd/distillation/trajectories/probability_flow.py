"""The probability-flow ODE of a prior along timesteps: DDIM where they fall, its inversion where they rise."""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ...errors import UserError
from ...priors import NoiseLevelInterval, Prior, PromptEmbedding
from ...priors.noise_levels import is_inside, noise_level


@torch.no_grad()
def follow_flow(
    prior: Prior,
    x: Tensor,
    timesteps: Sequence[int],
    embedding: PromptEmbedding,
    guidance_scale: float = 7.5,
    guidance_interval: NoiseLevelInterval | None = None,
) -> Tensor:
    """Follow the flow with Euler steps in x = x_t / alpha_t: x <- x + (lambda_{t_next} - lambda_t) eps_w(alpha_t x).

    lambda = sigma / alpha. These are the steps of DDIM (Song et al., 2021) with eta = 0. They cost one noise prediction
    each, so one less than there are timesteps.

    Args:
        prior: the diffusion model.
        x: x_t / alpha_t at the first timestep, (N, ...).
        timesteps: falling or rising; at least one.
        embedding: the prompt.
        guidance_scale: classifier-free guidance weight w (24), of any sign.
        guidance_interval: noise levels at which guidance acts; elsewhere only the prediction for the prompt is made.
            None: all levels.

    Returns:
        x_t / alpha_t at the last timestep, (N, ...).

    Raises:
        UserError: alpha_t = 0 at one of the timesteps.

    Example:
        >>> from threestudio_rsd.priors import GaussianMixturePrior
        >>> prior = GaussianMixturePrior(torch.tensor([[3.0, 0.0]]), torch.tensor([1e-6]), torch.ones(1))
        >>> start = torch.ones(1, 2) * prior.sigma(999) / prior.alpha(999)
        >>> follow_flow(prior, start, range(999, -1, -9), prior.embed(), 1.0).round(decimals=1)
        tensor([[3., 0.]])
    """
    for t, t_next in itertools.pairwise(timesteps):
        change = finite_level(prior, t_next) - finite_level(prior, t)
        x = x + change * predict(prior, prior.alpha(t) * x, t, embedding, guidance_scale, guidance_interval)
    return x


def descending_grid(last: int, steps: int) -> list[int]:
    """Evenly spaced timesteps from `last` to 0, one more than there are steps.

    Example:
        >>> descending_grid(999, 4)
        [999, 749, 500, 250, 0]
    """
    return [round(last * (steps - index) / steps) for index in range(steps + 1)]


def predict(
    prior: Prior,
    x_t: Tensor,
    t: int,
    embedding: PromptEmbedding,
    guidance_scale: float,
    guidance_interval: NoiseLevelInterval | None = None,
) -> Tensor:
    """Noise prediction of x_t, guided in an interval of noise levels only, (N, ...)."""
    return prior.predict_noise(x_t, t, embedding, guidance_scale if is_inside(guidance_interval, prior, t) else 1.0)


def finite_level(prior: Prior, t: int) -> float:
    """lambda_t = sigma_t / alpha_t.

    Raises:
        UserError: alpha_t = 0, where it is infinite.
    """
    level = noise_level(prior, t)
    if math.isinf(level):
        raise UserError(f"The flow needs alpha_t > 0, which is 0 at t={t}; lower max_step_percent.")
    return level
