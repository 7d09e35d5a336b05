"""Files about a run in its trial folder: checkpoints, its config and its command."""

import contextlib
import shlex
import shutil
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins import TorchCheckpointIO
from pytorch_lightning.callbacks import Callback

from ...errors import UserError
from ..utils.config import dump_config
from ..utils.messages import info, warn


class Interrupted(BaseException):
    """Raised after Ctrl-C, when the step is finished and its checkpoint is saved."""


class WholeFiles(TorchCheckpointIO):
    """Lightning plugin that writes a temporary file and renames it, so that a crash keeps the old checkpoint."""

    def save_checkpoint(self, checkpoint: dict, path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint.

        Args:
            checkpoint: content of the file.
            path: path of the file, whose folder is made.
            storage_options: not used.

        Raises:
            UserError: the file cannot be written; no part of it is left.
        """
        path = Path(path)
        part = path.with_name(f"{path.name}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save(checkpoint, part)
            part.replace(path)
        except (OSError, RuntimeError) as error:
            with contextlib.suppress(OSError):
                part.unlink()
            reason = " ".join(str(error).split())
            raise UserError(f"The checkpoint {path} cannot be written: {reason}.") from error


class LastCheckpoint(Callback):
    """Callback that saves last.ckpt after each validation, every N steps, at the end of training and after Ctrl-C.

    Args:
        folder: folder of last.ckpt.
        every_n_steps: number of steps from one save to the next; 0: only at the other occasions.

    Raises:
        Interrupted: Ctrl-C was pressed; raised at the end of that step.
        KeyboardInterrupt: Ctrl-C was pressed a second time; raised at once.
    """

    def __init__(self, folder: str, every_n_steps: int = 0) -> None:
        self.path = Path(folder, "last.ckpt")
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
        self._restore_handler()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self._restore_handler()

    def _on_interrupt(self, *args: Any) -> None:
        if self._interrupted:
            self._restore_handler()
            raise KeyboardInterrupt
        self._interrupted = True
        warn("\nInterrupted: finishing and saving this step; press Ctrl-C again to stop at once.")

    def _save(self, trainer: Any) -> None:
        if self._saved_step != trainer.global_step and trainer.global_step > 0:
            trainer.save_checkpoint(self.path)
            self._saved_step = trainer.global_step
            if self._interrupted:
                info(f"Saved step {trainer.global_step}; continue with resume={self.path}")

    def _restore_handler(self) -> None:
        if self._former_handler is not None:
            signal.signal(signal.SIGINT, self._former_handler)
            self._former_handler = None


def write_snapshot(config_path: str, cfg: Any, command: Sequence[str]) -> None:
    """Write configs/raw.yaml, configs/parsed.yaml and cmd.txt to the trial folder.

    Args:
        config_path: path of the user's config, which is copied to raw.yaml.
        cfg: config of the run with all defaults and overrides, for parsed.yaml.
        command: words of the command line, for cmd.txt.
    """
    trial = Path(cfg.trial_dir)
    raw = trial / "configs" / "raw.yaml"
    raw.parent.mkdir(parents=True, exist_ok=True)
    if not (raw.exists() and raw.samefile(config_path)):
        shutil.copyfile(config_path, raw)
    dump_config(str(raw.with_name("parsed.yaml")), cfg)
    (trial / "cmd.txt").write_text(shlex.join(command) + "\n", encoding="utf-8")
