"""Reading checkpoints, without unpickling anything but tensors and plain values."""

import os
from typing import Any

import torch

from ...errors import UserError
from .misc import get_device

REQUIRED = ("state_dict", "epoch", "global_step")


def read_checkpoint(path: str, key: str = "resume", map_location: Any = "cpu") -> dict:
    """Content of a checkpoint file that training wrote.

    Args:
        path: the .ckpt file.
        key: config key that named it, for errors.

    Raises:
        UserError: there is no such file, it is cut short, or it is something else.
    """
    if not os.path.isfile(path):
        raise UserError(f"{key}={path!r} is not a file; accepted: a checkpoint such as TRIAL_FOLDER/ckpts/last.ckpt.")
    try:
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:  # zipfile, pickle and torch each have their own for a damaged file
        raise UserError(
            f"{key}={path!r} is damaged or no checkpoint; accepted: a whole .ckpt file that training wrote."
        ) from error
    if not isinstance(checkpoint, dict) or any(name not in checkpoint for name in REQUIRED):
        raise UserError(f"{key}={path!r} is no training checkpoint: it lacks one of {', '.join(REQUIRED)}.")
    return checkpoint


def load_module_weights(
    path: str,
    module_name: str | None = None,
    ignore_modules: list[str] | None = None,
    map_location: Any = None,
) -> tuple[dict, int, int]:
    """State dict, epoch and step of a checkpoint, of one attribute only or without some.

    Args:
        path: the .ckpt file.
        module_name: keep what lies under this attribute of the system, without the prefix.
        ignore_modules: drop what lies under these attributes.

    Raises:
        UserError: the file cannot be read.
        ValueError: both filters are given.
    """
    if module_name is not None and ignore_modules is not None:
        raise ValueError("module_name and ignore_modules exclude each other.")
    checkpoint = read_checkpoint(path, "weights", map_location if map_location is not None else get_device())
    state = checkpoint["state_dict"]
    if module_name is not None:
        prefix = f"{module_name}."
        state = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    elif ignore_modules is not None:
        prefixes = tuple(f"{module}." for module in ignore_modules)
        state = {key: value for key, value in state.items() if not key.startswith(prefixes)}
    return state, checkpoint["epoch"], checkpoint["global_step"]
