"""Device and rank of this process, and `C`, the value of a setting that changes during training."""

import gc
import math
import os
from typing import Any

import torch

from ...errors import UserError, one_of
from .config import config_to_primitive

ACCEPTED = "a number, [start, value, value, end] or [start, value, value, end, value, end, ...]"


def get_rank() -> int:
    """Return the global rank of this process; 0 if there is only one process."""
    # The launchers' variables come first: SLURM also sets its own for jobs that it does not distribute.
    for variable in ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK"):
        if variable in os.environ:
            return int(os.environ[variable])
    return 0


def get_device() -> torch.device:
    """Return the GPU of this process, or the CPU if there is no GPU or RSD_DEVICE=cpu is set."""
    if os.environ.get("RSD_DEVICE") == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def barrier() -> None:
    """Wait until all processes have reached this call."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()


def cleanup() -> None:
    """Free unused memory, on the GPU too."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def C(value: Any, epoch: int, global_step: int, interpolation: str = "linear") -> float:  # noqa: N802 threestudio's name
    """Value of a schedule at a step.

    Args:
        value: a number, or `[start, v0, v1, end]`: v0 until `start`, v1 from `end` on, interpolated between;
            `[v0, v1, end]` starts at 0; `[start, v0, v1, end1, v2, end2, ...]` continues from v1 to v2 and so on.
            An end that is an int is a step; a float is an epoch.
        epoch: number of finished epochs.
        global_step: number of finished training steps.
        interpolation: `linear`, or `exp` (linear in the logarithm; values must be positive).

    Raises:
        UserError: `value` is not a schedule, or `interpolation` is unknown.

    Example:
        >>> C(0.5, epoch=0, global_step=7)
        0.5
        >>> [C([10, 1.0, 3.0, 20], epoch=0, global_step=step) for step in (0, 15, 99)]
        [1.0, 2.0, 3.0]
    """
    value = config_to_primitive(value)
    if _is_number(value):
        return value
    starts, values, ends = _segments(value)
    for i, end in enumerate(ends):
        now = epoch if isinstance(end, float) else global_step
        if now < end or i == len(ends) - 1:
            progress = min(max((now - starts[i]) / (end - starts[i]), 0.0), 1.0)
            return _interpolate(values[i], values[i + 1], progress, interpolation)
    raise AssertionError("a schedule has at least one segment")


def C_max(value: Any) -> float:  # noqa: N802 threestudio's name
    """Largest value of a schedule.

    Args:
        value: a number or a list, see `C`.

    Raises:
        UserError: `value` is not a schedule.
    """
    value = config_to_primitive(value)
    return value if _is_number(value) else max(_segments(value)[1])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _segments(value: Any) -> tuple[list, list, list]:
    """Starts (k), values (k + 1) and ends (k) of the k segments of a schedule."""
    if isinstance(value, tuple):
        value = list(value)
    if not isinstance(value, list) or not all(_is_number(entry) for entry in value):
        raise UserError(f"Schedule {value!r} is not understood; accepted: {ACCEPTED}.")
    entries = [0, *value] if len(value) == 3 else value
    if len(entries) < 4 or len(entries) % 2:
        raise UserError(f"Schedule {value!r} has {len(value)} entries; accepted: {ACCEPTED}.")
    ends = entries[3::2]
    starts = [entries[0], *ends[:-1]]
    values = [entries[1], entries[2], *entries[4::2]]
    if any(end <= start for start, end in zip(starts, ends, strict=True)):
        raise UserError(f"Schedule {value!r} is impossible; accepted: ends that are later than their starts.")
    return starts, values, ends


def _interpolate(first: float, last: float, progress: float, interpolation: str) -> float:
    one_of("interpolation", interpolation, ("linear", "exp"))
    if interpolation == "linear":
        return first + (last - first) * progress
    if min(first, last) <= 0:
        raise UserError(f"A schedule from {first} to {last} cannot be exponential; accepted: values above 0.")
    return math.exp(math.log(first) * (1 - progress) + math.log(last) * progress)
