"""Checkpoint files: written whole or not at all, and the last one always there."""

import os
import shlex
import shutil
import signal
import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch
from lightning_fabric.plugins import TorchCheckpointIO
from pytorch_lightning.callbacks import Callback

from ...errors import UserError
from ..utils.config import dump_config
from ..utils.messages import info, warn


class Interrupted(BaseException):
    """The user pressed Ctrl-C, and the last checkpoint is saved."""


class WholeFiles(TorchCheckpointIO):
    """Writes beside the file and renames it then: a crash leaves the old one."""

    def save_checkpoint(self, checkpoint: dict, path: Any, storage_options: Any = None) -> None:
        part = f"{path}.part"
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            torch.save(checkpoint, part)
            os.replace(part, path)
        except (OSError, RuntimeError) as error:
            if os.path.exists(part):
                os.remove(part)
            reason = " ".join(str(error).split())
            raise UserError(f"The checkpoint {path} cannot be written: {reason}.") from error


class LastCheckpoint(Callback):
    """Saves last.ckpt at each validation, every N steps, at the end, and after the step in which Ctrl-C is pressed.

    Args:
        folder: where it lies.
        every_n_steps: additionally; 0 for never.

    Raises:
        Interrupted: after the step of a Ctrl-C. A second one is a KeyboardInterrupt at once.
    """

    def __init__(self, folder: str, every_n_steps: int = 0) -> None:
        self.path = os.path.join(folder, "last.ckpt")
        self.every_n_steps = every_n_steps
        self._saved_step: int | None = None
        self._interrupted = False
        self._former_handler: Callable | int | None = None

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        if threading.current_thread() is threading.main_thread():
            self._former_handler = signal.signal(signal.SIGINT, self._on_interrupt)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        if self._interrupted:
            self._save(trainer)
            raise Interrupted
        if self.every_n_steps and trainer.global_step % self.every_n_steps == 0:
            self._save(trainer)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._save(trainer)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._save(trainer)

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        self._give_signal_back()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self._give_signal_back()

    def _on_interrupt(self, *args: Any) -> None:
        if self._interrupted:
            self._give_signal_back()
            raise KeyboardInterrupt
        self._interrupted = True
        warn("\nInterrupted: the step is finished and saved; press Ctrl-C again to stop at once.")

    def _save(self, trainer: Any) -> None:
        if self._saved_step != trainer.global_step and trainer.global_step > 0:
            trainer.save_checkpoint(self.path)
            self._saved_step = trainer.global_step
            if self._interrupted:
                info(f"Saved step {trainer.global_step}; go on with resume={self.path}")

    def _give_signal_back(self) -> None:
        if self._former_handler is not None:
            signal.signal(signal.SIGINT, self._former_handler)
            self._former_handler = None


def write_snapshot(config_path: str, cfg: Any, command: Sequence[str]) -> None:
    """Write configs/raw.yaml, configs/parsed.yaml and cmd.txt."""
    folder = os.path.join(cfg.trial_dir, "configs")
    os.makedirs(folder, exist_ok=True)
    raw = os.path.join(folder, "raw.yaml")
    if not (os.path.exists(raw) and os.path.samefile(config_path, raw)):
        shutil.copyfile(config_path, raw)
    dump_config(os.path.join(folder, "parsed.yaml"), cfg)
    with open(os.path.join(cfg.trial_dir, "cmd.txt"), "w", encoding="utf-8") as file:
        file.write(shlex.join(command) + "\n")
