"""Training, validation, test or export from a config, as threestudio's launch.py does it."""

import inspect
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, LearningRateMonitor, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from ...errors import UserError
from ..utils.experiment import load_config
from ..utils.messages import info, warn
from ..utils.misc import get_rank
from ..utils.registry import find
from .checkpoints import Interrupted, LastCheckpoint, WholeFiles, write_snapshot
from .checks import (
    check_arguments,
    check_output_folder,
    check_resumed,
    check_seed,
    check_trainer,
    check_training,
    make_output_folder,
    plain,
    read_resumed,
)
from .progress import StepProgressBar
from .random_state import RandomState

KINDS: dict[str, type] = {"data_type": pl.LightningDataModule, "system_type": pl.LightningModule}
INTERRUPTED = 130  # exit code of a program that was ended by Ctrl-C


class PreparedRun(NamedTuple):
    """A run that `prepare` has checked and built, and that has not written anything yet."""

    cfg: Any  # config of the run
    system: Any  # BaseSystem
    data: Any  # LightningDataModule
    trainer: pl.Trainer
    checkpoint: dict | None  # content of the checkpoint to resume from


def launch(
    config: str, mode: str, overrides: Sequence[str] = (), n_gpus: int = 1, command: Sequence[str] = ("rsd", "launch")
) -> int:
    """Train, validate, test or export the system of a config.

    Args:
        config: path of the YAML file.
        mode: `train` (followed by a test), `validate`, `test` or `export`.
        overrides: values `key.subkey=value` that override the file.
        n_gpus: number of GPUs that may be used; without a GPU, the CPU is used.
        command: words of the command line, for cmd.txt.

    Returns:
        Exit code: 0, or 130 after Ctrl-C.

    Raises:
        UserError: a mistake that the user can fix. If a check finds it, nothing is written.
    """
    run = prepare(config, mode, overrides, n_gpus)
    make_output_folder(run.cfg.trial_dir)
    if mode == "train" and get_rank() == 0:
        write_snapshot(config, run.cfg, command)
    try:
        _perform(run, mode)
    except Interrupted:
        return INTERRUPTED
    except SystemExit:
        # Lightning exits with code 1 after Ctrl-C.
        if run.trainer.interrupted:
            return INTERRUPTED
        raise
    return INTERRUPTED if run.trainer.interrupted else 0


def prepare(config: str, mode: str, overrides: Sequence[str] = (), n_gpus: int = 1) -> PreparedRun:
    """Check and build everything without writing anything.

    Args:
        config: path of the YAML file.
        mode: `train`, `validate`, `test` or `export`.
        overrides: values `key.subkey=value` that override the file.
        n_gpus: number of GPUs that may be used.

    Raises:
        UserError: see `launch`.
    """
    cfg = load_config(config, cli_args=overrides, n_gpus=n_gpus)
    settings = plain(cfg.trainer)
    check_seed(cfg.seed)
    check_trainer(settings)
    check_output_folder(cfg.trial_dir)
    checkpoint = read_resumed(cfg.resume)
    settings = _with_devices(settings)
    trainer = _make_trainer(cfg, settings, mode)

    pl.seed_everything(cfg.seed + get_rank(), workers=True)
    data = _find("data_type", cfg.data_type)(cfg.data)
    system = _find("system_type", cfg.system_type)(cfg.system, resumed=cfg.resume is not None)
    system.set_save_dir(str(Path(cfg.trial_dir, "save")))
    if hasattr(system, "check_data"):
        system.check_data(data)
    check_resumed(checkpoint, cfg.resume, system)
    if mode == "train":
        check_training(system)
    trainer.loggers = [*trainer.loggers, *system.get_loggers()] if mode == "train" else []
    return PreparedRun(cfg, system, data, trainer, checkpoint)


def _perform(run: PreparedRun, mode: str) -> None:
    trainer, system, data = run.trainer, run.system, run.data
    wanted = str(run.cfg.trainer.get("precision"))
    if wanted.startswith("16") and trainer.precision == "32-true":
        warn(f"trainer.precision={wanted} needs a GPU; this run uses 32 bits.")
    if mode == "train":
        info(f"Results go to {run.cfg.trial_dir}")
        trainer.fit(system, datamodule=data, ckpt_path=run.cfg.resume, **_weights_only(trainer.fit))
        trainer.test(system, datamodule=data, verbose=False)
        return
    if run.checkpoint is None:
        warn("No resume=PATH is given: the evaluated system was not trained.")
    else:
        system.set_resume_status(run.checkpoint["epoch"], run.checkpoint["global_step"])
    step = getattr(trainer, {"validate": "validate", "test": "test", "export": "predict"}[mode])
    quiet = {} if mode == "export" else {"verbose": False}
    step(system, datamodule=data, ckpt_path=run.cfg.resume, **quiet, **_weights_only(step))
    info(f"Results are in {system.get_save_dir()}")


def _with_devices(settings: dict) -> dict:
    """Add the device to the trainer's arguments, and replace a precision that the CPU lacks."""
    if settings.get("accelerator") == "cpu":
        os.environ["RSD_DEVICE"] = "cpu"  # for get_device(), in this process and those it starts
    on_gpu = torch.cuda.is_available() and os.environ.get("RSD_DEVICE") != "cpu"
    defaults = {"accelerator": "gpu", "devices": -1} if on_gpu else {"accelerator": "cpu", "devices": 1}
    settings = {**defaults, **settings}
    if not on_gpu and str(settings.get("precision")).startswith("16"):
        settings["precision"] = "32-true"
    return settings


def _make_trainer(cfg: Any, settings: dict, mode: str) -> pl.Trainer:
    callbacks: list[Callback] = []
    loggers: list = []
    if settings.get("enable_progress_bar", True):
        callbacks.append(StepProgressBar())
    if mode == "train":
        callbacks += [RandomState(), LearningRateMonitor(logging_interval="step")]
        if settings.get("enable_checkpointing", True):
            callbacks += _checkpoint_callbacks(cfg)
        loggers = [TensorBoardLogger(cfg.trial_dir, name="tb_logs"), CSVLogger(cfg.trial_dir, name="csv_logs")]
        settings = {"enable_model_summary": False, **settings}
    check_arguments("trainer", settings, pl.Trainer.__init__)
    try:
        return pl.Trainer(
            callbacks=callbacks,
            logger=loggers,
            inference_mode=False,  # systems may need gradients in evaluation
            plugins=[WholeFiles()],
            **settings,
        )
    except (TypeError, ValueError, AttributeError, LookupError, MisconfigurationException) as error:
        raise UserError(f"The section trainer is not accepted by Lightning: {_sentence(error)}") from error


def _checkpoint_callbacks(cfg: Any) -> list[Callback]:
    settings = plain(cfg.checkpoint)
    folder = str(Path(cfg.trial_dir, "ckpts"))
    every_n_steps = settings.get("every_n_train_steps") or 0
    callbacks: list[Callback] = []
    # Lightning would write its own last.ckpt not at every validation, and beside an older one as last-v1.ckpt.
    if settings.pop("save_last", True):
        callbacks.append(LastCheckpoint(folder, every_n_steps))
    check_arguments("checkpoint", settings, ModelCheckpoint.__init__)
    try:
        callbacks.append(ModelCheckpoint(dirpath=folder, **settings))
    except (TypeError, ValueError, MisconfigurationException) as error:
        raise UserError(f"The section checkpoint is not accepted by Lightning: {_sentence(error)}") from error
    return callbacks


def _find(key: str, name: str) -> type:
    try:
        found = find(name)
    except UserError as error:
        raise UserError(f"{key}={name!r} cannot be used. {error}") from error
    if not issubclass(found, KINDS[key]):
        raise UserError(f"{key}={name!r} is a {found.__name__}; accepted: the name of a {KINDS[key].__name__}.")
    return found


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".!") + "."


def _weights_only(function: Any) -> dict:
    """Argument that makes Lightning unpickle only tensors and plain values, in versions that have it."""
    return {"weights_only": True} if "weights_only" in inspect.signature(function).parameters else {}
