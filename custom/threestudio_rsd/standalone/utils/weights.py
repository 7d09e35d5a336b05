"""Reading checkpoints; only tensors and plain values are unpickled."""

import os
from typing import Any

import torch

from ...errors import UserError
from .misc import get_device

REQUIRED = ("state_dict", "epoch", "global_step")  # keys of every training checkpoint


def read_checkpoint(path: str, key: str = "resume", map_location: Any = "cpu") -> dict:
    """Read a checkpoint file that training wrote.

    Args:
        path: path of the .ckpt file.
        key: config key that holds the path, for errors.
        map_location: device of the tensors.

    Raises:
        UserError: the file does not exist, is cut short, or is not a training checkpoint.
    """
    if not os.path.isfile(path):  # noqa: PTH113 False where a folder may not be entered; Path.is_file() raises
        raise UserError(f"{key}={path!r} is not a file; accepted: a checkpoint such as TRIAL_FOLDER/ckpts/last.ckpt.")
    try:
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:  # zipfile, pickle and torch each raise their own for a damaged file
        raise UserError(
            f"{key}={path!r} is damaged or not a checkpoint; accepted: a complete .ckpt file from a training run."
        ) from error
    if not isinstance(checkpoint, dict) or any(name not in checkpoint for name in REQUIRED):
        raise UserError(f"{key}={path!r} is not a training checkpoint: it lacks one of {', '.join(REQUIRED)}.")
    return checkpoint


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
