"""What can be checked before anything is built or written."""

import difflib
import inspect
import os
from collections.abc import Callable
from typing import Any

from ...errors import UserError
from ..systems.optimizers import parse_optimizer, parse_scheduler
from ..utils.config import config_to_primitive
from ..utils.misc import C
from ..utils.weights import read_checkpoint

POSITIVE = ("max_steps", "max_epochs", "log_every_n_steps")  # of the trainer
OURS = ("self", "callbacks", "logger", "plugins", "inference_mode", "dirpath")  # set by the host, not by configs
LARGEST_SEED = 2**32 - 1  # NumPy's


def check_seed(seed: int) -> None:
    """Raise UserError for a seed that a generator does not take."""
    if not 0 <= seed <= LARGEST_SEED:
        raise UserError(f"seed={seed} is impossible; accepted: an integer from 0 to {LARGEST_SEED}.")


def check_arguments(section: str, arguments: dict, function: Callable) -> None:
    """Raise UserError unless `function` has all arguments of that section of the config."""
    accepted = [name for name in inspect.signature(function).parameters if name not in OURS]
    for key, value in arguments.items():
        if key not in accepted:
            close = difflib.get_close_matches(key, accepted, n=1)
            hint = f"did you mean {section}.{close[0]}? " if close else ""
            raise UserError(f"{section}.{key}={value!r} is an unknown key; {hint}accepted: {', '.join(accepted)}.")


def check_trainer(trainer: dict) -> None:
    """Raise UserError for numbers of Lightning's Trainer that make no sense here."""
    for key in POSITIVE:
        value = trainer.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise UserError(f"trainer.{key}={value!r} is impossible; accepted: an integer of at least 1.")


def check_output_folder(trial_dir: str) -> None:
    """Raise UserError if the trial folder cannot be made; makes nothing."""
    folder = os.path.abspath(trial_dir)
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"{trial_dir} cannot be made: {folder} is not a folder one can write to; set exp_root_dir.")


def make_output_folder(trial_dir: str) -> None:
    """Make the trial folder, or raise UserError."""
    try:
        os.makedirs(trial_dir, exist_ok=True)
    except OSError as error:
        raise UserError(f"{trial_dir} cannot be made: {error.strerror}; set exp_root_dir to another folder.") from error


def read_resumed(path: str | None) -> dict | None:
    """The checkpoint to go on from, if any.

    Raises:
        UserError: it cannot be read.
    """
    return None if path is None else read_checkpoint(path)


def check_resumed(checkpoint: dict | None, path: str | None, system: Any) -> None:
    """Raise UserError if the checkpoint is another system's."""
    from ..systems.base import BaseSystem

    adapts_itself = type(system).on_load_checkpoint is not BaseSystem.on_load_checkpoint
    if checkpoint is None or adapts_itself or not getattr(system, "strict_loading", True):
        return
    saved, wanted = checkpoint["state_dict"], system.state_dict()
    for key in sorted(saved.keys() | wanted.keys()):
        if key not in saved or key not in wanted:
            where = "lacks" if key not in saved else "has"
            raise UserError(f"resume={path!r} is a checkpoint of another system: it {where} {key}; use its own config.")
        if saved[key].shape != wanted[key].shape:
            raise UserError(
                f"resume={path!r} does not fit: {key} has the shape {tuple(saved[key].shape)} there and "
                f"{tuple(wanted[key].shape)} in this config."
            )


def check_training(system: Any) -> None:
    """Raise UserError if the optimizer, its scheduler or the weight of a loss cannot be made from the config."""
    if system.cfg.optimizer:
        optimizer = parse_optimizer(system.cfg.optimizer, system)
        if system.cfg.scheduler is not None:
            parse_scheduler(system.cfg.scheduler, optimizer)
    for name, weight in plain(system.cfg.loss).items():
        try:
            C(weight, 0, 0)
        except UserError as error:
            raise UserError(f"system.loss.{name}: {error}") from error


def plain(section: Any) -> dict:
    """A section of the config as a dict."""
    return dict(config_to_primitive(section) or {})
