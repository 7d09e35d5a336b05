"""Checks of a config and a checkpoint before a run writes anything."""

import difflib
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ...errors import UserError
from ..systems.optimizers import parse_optimizer, parse_scheduler
from ..utils.config import config_to_primitive
from ..utils.misc import C
from ..utils.weights import read_checkpoint

RESERVED = ("self", "callbacks", "logger", "plugins", "inference_mode", "dirpath")  # set by launch, not by configs
OUTPUT_FOLDERS = ("ckpts", "save", "csv_logs", "tb_logs", "configs")  # of a trial folder
LARGEST_SEED = 2**32 - 1  # NumPy's limit


def check_seed(seed: int) -> None:
    """Check that random generators accept a seed.

    Raises:
        UserError: they do not.
    """
    if not 0 <= seed <= LARGEST_SEED:
        raise UserError(f"seed={seed} is impossible; accepted: an integer from 0 to {LARGEST_SEED}.")


def check_arguments(section: str, arguments: dict, function: Callable) -> None:
    """Check that a function accepts the values of a config section.

    Args:
        section: name of the section, for the error.
        arguments: values of the section.
        function: function that takes them as arguments.

    Raises:
        UserError: a key is not an argument of the function.
    """
    accepted = [name for name in inspect.signature(function).parameters if name not in RESERVED]
    for key, value in arguments.items():
        if key not in accepted:
            close = difflib.get_close_matches(key, accepted, n=1)
            hint = f"did you mean {section}.{close[0]}? " if close else ""
            raise UserError(f"{section}.{key}={value!r} is an unknown key; {hint}accepted: {', '.join(accepted)}.")


def check_output_folder(trial_dir: str) -> None:
    """Check that the trial folder can be made, without making it.

    Raises:
        UserError: it cannot.
    """
    folder = Path(trial_dir).absolute()
    while not os.path.lexists(folder):
        folder = folder.parent
    for part in OUTPUT_FOLDERS:
        path = Path(trial_dir, part)
        if os.path.lexists(path) and not (path.is_dir() and os.access(path, os.W_OK | os.X_OK)):
            raise UserError(f"{path} is not a writable folder; remove it, or set another tag.")
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"{trial_dir} cannot be made: {folder} is not a writable folder; set exp_root_dir.")


def make_output_folder(trial_dir: str) -> None:
    """Make the trial folder.

    Raises:
        UserError: it cannot be made.
    """
    try:
        Path(trial_dir).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{trial_dir} cannot be made: {error.strerror}; set exp_root_dir to another folder.") from error


def read_resumed(path: str | None, mode: str) -> dict | None:
    """Read the checkpoint to resume from; None if there is no path.

    Args:
        path: config value `resume`.
        mode: `train`, `validate`, `test` or `export`.

    Raises:
        UserError: it cannot be read.
    """
    return None if path is None else read_checkpoint(path, continued=mode == "train")


def check_resumed(checkpoint: dict | None, path: str | None, system: Any) -> None:
    """Check that a checkpoint has the weights of a system, in the same shapes.

    Args:
        checkpoint: content of the file; None: nothing is checked.
        path: path of the file, for the error.
        system: system that is to be resumed.

    Raises:
        UserError: a weight is missing, superfluous or of another shape.
    """
    if checkpoint is None or not getattr(system, "strict_loading", True):
        return
    saved, wanted = checkpoint["state_dict"], system.state_dict()
    for key in sorted(saved.keys() | wanted.keys()):
        if key not in saved or key not in wanted:
            where = "lacks" if key not in saved else "has"
            raise UserError(f"resume={path!r} is a checkpoint of another system: it {where} {key}; use its own config.")
        if isinstance(wanted[key], torch.Tensor) and saved[key].shape != wanted[key].shape:
            raise UserError(
                f"resume={path!r} does not fit: {key} has the shape {tuple(saved[key].shape)} in the file and "
                f"{tuple(wanted[key].shape)} in this config."
            )


def check_training(system: Any) -> None:
    """Check that optimizer, scheduler, guidance and weights of the losses can be made from a system's config.

    Raises:
        UserError: one of them cannot.
    """
    if system.cfg.optimizer:
        optimizer = parse_optimizer(system.cfg.optimizer, system)
        if system.cfg.scheduler is not None:
            parse_scheduler(system.cfg.scheduler, optimizer)
    if hasattr(system, "prepare_training"):
        system.prepare_training()
    for name, weight in plain(system.cfg.loss).items():
        _check_loss_weight(name, weight)


def plain(section: Any) -> dict:
    """Convert a section of a config to a dict; empty if there is no such section."""
    return dict(config_to_primitive(section) or {})


def _check_loss_weight(name: str, weight: Any) -> None:
    try:
        C(weight, 0, 0)
    except UserError as error:
        raise UserError(f"system.loss.{name}: {error}") from error
