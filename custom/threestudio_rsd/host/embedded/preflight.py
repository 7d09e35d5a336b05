"""What can be checked before anything is built or written."""

import os
from typing import Any

from ...errors import UserError
from .config import config_to_primitive
from .weights import read_checkpoint

POSITIVE = ("max_steps", "max_epochs", "log_every_n_steps")  # of the trainer


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
    from .system import BaseSystem

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


def plain(section: Any) -> dict:
    """A section of the config as a dict."""
    return dict(config_to_primitive(section) or {})
