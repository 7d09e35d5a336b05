"""Noise levels lambda = sigma / alpha, and intervals of them.

Classifier-free guidance that acts in an interval of noise levels only keeps samples diverse (Kynkaanniemi et al., 2024,
arXiv 2404.07724).
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from .base import Prior


@dataclass(frozen=True)
class NoiseLevelInterval:
    """Noise levels lambda = sigma / alpha in (low, high].

    Attributes:
        low: excluded lower bound, at least 0.
        high: included upper bound; infinity: no bound.

    Raises:
        UserError: bounds that are not 0 <= low <= high.

    Example:
        >>> NoiseLevelInterval(0.28, 2.9).contains(1.0)
        True
        >>> NoiseLevelInterval(0.28, 2.9).contains(0.28)
        False
    """

    low: float = 0.0
    high: float = math.inf

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high:
            raise UserError(
                f"interval [{self.low}, {self.high}] is impossible; accepted: two noise levels sigma / alpha, "
                "0 <= low <= high."
            )

    def contains(self, level: float) -> bool:
        """Test whether a noise level lies in the interval."""
        return self.low < level <= self.high


def interval_from(key: str, bounds: Any) -> NoiseLevelInterval | None:
    """Interval of noise levels from a config value."""
    if bounds is None:
        return None
    try:
        low, high = (float(bound) for bound in bounds)
        return NoiseLevelInterval(low, high)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{key}={bounds!r} is impossible; accepted: null or [low, high], noise levels sigma / alpha with "
            "0 <= low <= high (.inf: no upper bound)."
        ) from error


def is_inside(interval: NoiseLevelInterval | None, prior: Prior, t: int | Tensor) -> bool:
    """Test whether the noise level of a timestep lies in an interval; None contains all levels."""
    return interval is None or interval.contains(noise_level(prior, int(t)))


def has_inside(interval: NoiseLevelInterval | None, prior: Prior) -> bool:
    """Test whether the noise level of any timestep lies in an interval."""
    return interval is None or any(map(interval.contains, _levels(prior)))


def first_sampling_timestep(prior: Prior) -> int:
    """Timestep at which sampling starts, `Prior.last_timestep`.

    Raises:
        UserError: the schedule ends in pure noise (alpha_T = 0), and the network predicts noise, which there says
            nothing about the image; errors of it are multiplied by sigma / alpha (Lin et al., 2024, arXiv 2305.08891).
    """
    t = prior.last_timestep
    if t < prior.num_train_timesteps - 1 and prior.prediction_type == "epsilon":
        raise UserError(
            f"the noise schedule of {prior.fingerprint} ends in pure noise (alpha_T = 0), from where a network with "
            "prediction_type='epsilon' cannot sample; accepted: prediction_type v_prediction or sample, or a schedule "
            "with rescale_betas_zero_snr=false."
        )
    return t


def check_signal(prior: Prior, t: int | Tensor, key: str) -> None:
    """Check that alpha_t > 0, where a value is divided by it.

    Args:
        prior: the diffusion model.
        t: timestep, int or (N,).
        key: setting that divides by alpha_t, for the message.

    Raises:
        UserError: t lies above `Prior.last_timestep`.
    """
    last = prior.last_timestep
    if last < prior.num_train_timesteps - 1 and int(torch.as_tensor(t).max()) > last:
        raise UserError(f"{key} needs alpha_t > 0, which is 0 at t={t}; accepted with this prior: t up to {last}.")


def noise_level(prior: Prior, t: int) -> float:
    """lambda_t = sigma_t / alpha_t of a timestep; infinity where alpha_t = 0."""
    return _levels(prior)[t]


def _levels(prior: Prior) -> list[float]:
    """Noise levels of all timesteps, copied from the device once: a copy in each step would wait for it."""
    levels: list[float] | None = getattr(prior, "_noise_levels", None)
    if levels is None:
        timesteps = torch.arange(prior.num_train_timesteps, device=prior.device)
        alphas, sigmas = prior.alpha(timesteps).flatten().tolist(), prior.sigma(timesteps).flatten().tolist()
        levels = [math.inf if alpha == 0 else sigma / alpha for alpha, sigma in zip(alphas, sigmas, strict=True)]
        object.__setattr__(prior, "_noise_levels", levels)
    return levels
