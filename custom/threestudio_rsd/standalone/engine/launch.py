"""One run, from the command line to the last file: threestudio's launch.py for the embedded host."""

import inspect
import os
from collections.abc import Sequence
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

INTERRUPTED = 130  # exit code of a program that Ctrl-C ended


class PreparedRun(NamedTuple):
    """What `prepare` has checked and built; nothing is written yet."""

    cfg: Any
    system: Any
    data: Any
    trainer: pl.Trainer
    checkpoint: dict | None


def launch(
    config: str, mode: str, overrides: Sequence[str] = (), n_gpus: int = 1, command: Sequence[str] = ("rsd", "launch")
) -> int:
    """Train, validate, test or export what a config says.

    Args:
        config: path of the YAML file.
        mode: `train` (which tests at its end), `validate`, `test` or `export`.
        overrides: `key.subkey=value`.
        n_gpus: number of GPUs that may be used; without any the CPU is.
        command: what the user typed, for cmd.txt.

    Returns:
        0, or 130 after Ctrl-C.

    Raises:
        UserError: something the user can mend. Nothing is written if a check finds it.
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
        # Lightning ends the program with 1 after Ctrl-C.
        if run.trainer.interrupted:
            return INTERRUPTED
        raise
    return INTERRUPTED if run.trainer.interrupted else 0


def prepare(config: str, mode: str, overrides: Sequence[str] = (), n_gpus: int = 1) -> PreparedRun:
    """Check and build everything, without writing anything.

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
    system.set_save_dir(os.path.join(cfg.trial_dir, "save"))
    if hasattr(system, "check_data"):  # what only the data can show, before a folder is made
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
        warn(f"trainer.precision={wanted} needs a GPU; this run computes in 32 bits.")
    if mode == "train":
        info(f"Results go to {run.cfg.trial_dir}")
        trainer.fit(system, datamodule=data, ckpt_path=run.cfg.resume, **_weights_only(trainer.fit))
        trainer.test(system, datamodule=data, verbose=False)
        return
    if run.checkpoint is None:
        warn("There is no resume=PATH: what is evaluated was not trained.")
    else:
        system.set_resume_status(run.checkpoint["epoch"], run.checkpoint["global_step"])
    step = getattr(trainer, {"validate": "validate", "test": "test", "export": "predict"}[mode])
    quiet = {} if mode == "export" else {"verbose": False}
    step(system, datamodule=data, ckpt_path=run.cfg.resume, **quiet, **_weights_only(step))
    info(f"Results are in {system.get_save_dir()}")


def _with_devices(settings: dict) -> dict:
    """Trainer arguments with the device filled in, and a precision that it has."""
    if settings.get("accelerator") == "cpu":
        os.environ["RSD_DEVICE"] = "cpu"  # get_device() reads it, in this process and those it starts
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
            inference_mode=False,  # systems may need gradients to evaluate
            plugins=[WholeFiles()],
            **settings,
        )
    except (TypeError, ValueError, MisconfigurationException) as error:
        raise UserError(f"The section trainer is not accepted by Lightning: {_sentence(error)}") from error


def _checkpoint_callbacks(cfg: Any) -> list[Callback]:
    settings = plain(cfg.checkpoint)
    folder = os.path.join(cfg.trial_dir, "ckpts")
    every_n_steps = settings.get("every_n_train_steps") or 0
    callbacks: list[Callback] = []
    # Lightning's own last.ckpt is not written at every validation, nor in the place of an older one.
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
        return find(name)
    except UserError as error:
        raise UserError(f"{key}={name!r} cannot be used. {error}") from error


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".!") + "."


def _weights_only(function: Any) -> dict:
    """Lightning unpickles nothing but tensors, where its version can be told so."""
    return {"weights_only": True} if "weights_only" in inspect.signature(function).parameters else {}
