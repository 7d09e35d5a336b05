"""Files about a run in its trial folder: checkpoints, its config and its command."""

import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins import TorchCheckpointIO
from pytorch_lightning.callbacks import Callback

from ...errors import UserError
from ...files import whole_file, write_whole
from ..utils.checkpoint_files import sign
from ..utils.config import dump_config
from ..utils.messages import info
from .stopping import StopSignals


class WholeFiles(TorchCheckpointIO):
    """Lightning plugin that writes checkpoints with a checksum, as a whole, so that a crash keeps the old one."""

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
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as unfinished:
                torch.save(checkpoint, unfinished)
                sign(unfinished)
        except (OSError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            kept = "; the former one is kept" if path.is_file() else ""
            raise UserError(f"The checkpoint {path} cannot be written: {reason}{kept}.") from error


class LastCheckpoint(Callback):
    """Callback that saves last.ckpt after each validation, every N steps, when the run is to stop, and at its end.

    Args:
        folder: folder of last.ckpt.
        every_n_steps: number of steps from one save to the next; 0: only at the other occasions.
        signals: signals that stop the run; None: none do.
    """

    def __init__(self, folder: str, every_n_steps: int = 0, signals: StopSignals | None = None) -> None:
        self.path = Path(folder, "last.ckpt")
        self.every_n_steps = every_n_steps
        self._signals = signals or StopSignals()
        self._saved_step: int | None = None

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        is_due = self.every_n_steps and trainer.global_step % self.every_n_steps == 0
        if is_due or self._signals.is_stopping:
            self._save(trainer)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._save(trainer)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._save(trainer)

    def _save(self, trainer: Any) -> None:
        if self._saved_step != trainer.global_step and trainer.global_step > 0:
            trainer.save_checkpoint(self.path)
            self._saved_step = trainer.global_step
        if self._signals.is_stopping:
            info(f"Saved step {trainer.global_step}; continue with resume={self.path}")


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
        with whole_file(raw) as unfinished:
            shutil.copyfile(config_path, unfinished)
    with whole_file(raw.with_name("parsed.yaml")) as unfinished:
        dump_config(str(unfinished), cfg)
    write_whole(trial / "cmd.txt", shlex.join(command) + "\n")
