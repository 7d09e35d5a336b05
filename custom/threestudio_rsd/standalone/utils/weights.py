"""Reading checkpoints; only tensors and plain values are unpickled."""

import os
from pathlib import Path
from typing import Any

import torch

from ...errors import UserError
from .checkpoint_files import damage, newest_whole
from .misc import get_device

REQUIRED = {"state_dict": dict, "epoch": int, "global_step": int}  # keys of every training checkpoint, and their types
# Keys that a run needs to continue
CONTINUED = {"optimizer_states": list, "lr_schedulers": list, "loops": dict, "callbacks": dict}


def read_checkpoint(path: str, key: str = "resume", map_location: Any = "cpu", continued: bool = False) -> dict:
    """Read a checkpoint file that training wrote, and verify its checksum.

    Args:
        path: path of the .ckpt file.
        key: config key that holds the path, for errors.
        map_location: device of the tensors.
        continued: whether training will continue, which needs more than weights.

    Raises:
        UserError: the file does not exist, is damaged, or is not a training checkpoint.
    """
    if not os.path.isfile(path):  # noqa: PTH113 False where a folder may not be entered; Path.is_file() raises
        raise UserError(f"{key}={path!r} is not a file; accepted: a checkpoint such as TRIAL_FOLDER/ckpts/last.ckpt.")
    try:
        reason = damage(Path(path))
        if reason is not None:
            raise UserError(f"{key}={path!r} is damaged or not a checkpoint: {reason}; {_other(path, key)}")
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except UserError:
        raise
    except Exception as error:  # pickle and torch each raise their own
        raise UserError(
            f"{key}={path!r} is damaged or not a checkpoint: it holds more than tensors and plain values, or less; "
            f"{_other(path, key)}"
        ) from error
    _check_keys(checkpoint, path, key, REQUIRED | CONTINUED if continued else REQUIRED)
    return checkpoint


def _other(path: str, key: str) -> str:
    """End of the sentence about a damaged checkpoint: the newest whole one beside it."""
    other = newest_whole(Path(path).parent, Path(path))
    if other is None:
        return "accepted: a complete .ckpt file from a training run; there is no other one beside it."
    return f"the newest whole checkpoint beside it is {key}={str(other)!r}."


def _check_keys(checkpoint: Any, path: str, key: str, required: dict[str, type]) -> None:
    if not isinstance(checkpoint, dict):
        raise UserError(f"{key}={path!r} is not a training checkpoint: it is a {type(checkpoint).__name__}.")
    for name, kind in required.items():
        if name not in checkpoint:
            lacks = f"it lacks one of {', '.join(required)}: {name}"
            raise UserError(f"{key}={path!r} is not a training checkpoint: {lacks}.")
        if not isinstance(checkpoint[name], kind):
            raise UserError(
                f"{key}={path!r} is damaged: its {name} is a {type(checkpoint[name]).__name__}; "
                f"accepted: {kind.__name__}."
            )


def load_module_weights(
    path: str,
    module_name: str | None = None,
    ignore_modules: list[str] | None = None,
    map_location: Any = None,
) -> tuple[dict, int, int]:
    """Read the state dict, epoch and step of a checkpoint.

    Args:
        path: path of the .ckpt file.
        module_name: keep only the weights of this attribute of the system, and remove it from their names.
        ignore_modules: drop the weights of these attributes.
        map_location: device of the tensors; None: the device of this process.

    Returns:
        State dict, epoch and global step.

    Raises:
        UserError: the file cannot be read.
        ValueError: both `module_name` and `ignore_modules` are given.
    """
    if module_name is not None and ignore_modules is not None:
        raise ValueError("module_name and ignore_modules are both given; accepted: one of them.")
    checkpoint = read_checkpoint(path, "weights", map_location if map_location is not None else get_device())
    state = checkpoint["state_dict"]
    if module_name is not None:
        prefix = f"{module_name}."
        state = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    elif ignore_modules is not None:
        prefixes = tuple(f"{module}." for module in ignore_modules)
        state = {key: value for key, value in state.items() if not key.startswith(prefixes)}
    return state, checkpoint["epoch"], checkpoint["global_step"]
