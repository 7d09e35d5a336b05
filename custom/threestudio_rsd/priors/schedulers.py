"""Schedulers of diffusers: the classes that are accepted, and the noise levels and flow times that they define."""

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from .base import PREDICTION_TYPES

Error = Callable[[str], UserError]  # makes an error from a problem, see `Pretrained.error`

# Schedulers with a table of T noise levels, alphas_cumprod. Left out: flow matching, EDM, and distilled models.
SCHEDULERS = (
    "DDIMScheduler",
    "DDIMParallelScheduler",
    "DDPMScheduler",
    "DDPMParallelScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSDEScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "SASolverScheduler",
    "UniPCMultistepScheduler",
)
FLOW_MATCHING = ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler", "FlowMatchLCMScheduler")
FLOW_SIGMAS = (  # classes that do flow matching where they have use_flow_sigmas=true
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "SASolverScheduler",
    "UniPCMultistepScheduler",
)
FLOW_SCHEDULERS = (*FLOW_MATCHING, *FLOW_SIGMAS)

RISE = (
    1e-6  # accepted rise of alphas_cumprod; with a zero terminal SNR, Euler's last level is 2^-24 after a smaller one
)


def check_noise_levels(scheduler: Any, error: Error) -> None:
    """Check that a scheduler has a table of noise levels that falls within [0, 1].

    Args:
        scheduler: scheduler of diffusers.
        error: makes the error.

    Raises:
        UserError: it does flow matching, has an unknown prediction type or impossible noise levels.
    """
    if scheduler.config.get("use_flow_sigmas"):
        raise error("its scheduler has use_flow_sigmas=true, flow matching; accepted: false")
    prediction_type = scheduler.config.get("prediction_type", "epsilon")
    if prediction_type not in PREDICTION_TYPES:
        raise error(f"its scheduler has prediction_type={prediction_type!r}; accepted: {', '.join(PREDICTION_TYPES)}")
    levels = scheduler.alphas_cumprod
    if not (levels.isfinite().all() and (levels.diff() <= RISE).all() and levels[0] <= 1 and levels[-1] >= 0):
        raise error(
            "the noise levels of its scheduler are impossible (alphas_cumprod must fall within [0, 1]); check its "
            "betas in scheduler/scheduler_config.json"
        )


def check_flow_matching(scheduler: Any, error: Error) -> None:
    """Check that a scheduler does flow matching.

    Args:
        scheduler: scheduler of diffusers.
        error: makes the error.

    Raises:
        UserError: it does not, or it has sigmas that are no shifted flow times.
    """
    name = type(scheduler).__name__
    if name not in FLOW_MATCHING and not scheduler.config.get("use_flow_sigmas"):
        raise error(
            f"its scheduler, a {name}, does no flow matching; accepted: {', '.join(FLOW_MATCHING)}, or a scheduler "
            "with use_flow_sigmas=true"
        )
    for key in ("invert_sigmas", "use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"):
        if scheduler.config.get(key):
            raise error(f"its scheduler has {key}=true; accepted: false")


def flow_times(scheduler: Any, mu: float) -> Tensor:
    """Flow time s_t for t = 0 ... T - 1, rising to 1: (t + 1) / T with the shift of a scheduler.

    Args:
        scheduler: a scheduler that `check_flow_matching` accepts.
        mu: logarithm of the shift where it depends on the number of image tokens (use_dynamic_shifting).

    Returns:
        (T,)
    """
    config = scheduler.config
    total = config.num_train_timesteps
    even: Tensor = torch.arange(1, total + 1) / total
    is_dynamic = bool(config.get("use_dynamic_shifting"))
    if type(scheduler).__name__ == FLOW_MATCHING[0]:
        own = copy.deepcopy(scheduler)
        own.set_timesteps(sigmas=even.flip(0).tolist(), **({"mu": mu} if is_dynamic else {}))
        sigmas: Tensor = own.sigmas[:total].flip(0).float().cpu()
        return sigmas
    shift = math.exp(mu) if is_dynamic else float(config.get("flow_shift", config.get("shift", 1.0)))
    return shift * even / (1 + (shift - 1) * even)


def dynamic_shift(config: Any, tokens: int) -> float:
    """Logarithm mu of the shift for a number of image tokens, linear in it (FLUX).

    Args:
        config: config of the scheduler.
        tokens: number of image tokens of the transformer.

    Example:
        >>> dynamic_shift({}, 4096)
        1.15
    """
    low, high = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    first, last = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
    return float(first + (last - first) * (tokens - low) / (high - low))
