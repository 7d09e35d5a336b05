"""Training, validation, test or export from a config, as threestudio's launch.py does it."""

import inspect
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, LearningRateMonitor, ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from ...errors import NonFiniteError, UserError
from ...particles.ranks import rank
from ...signals import Stopped
from ..utils.experiment import load_config
from ..utils.messages import info, warn
from ..utils.misc import get_rank
from ..utils.registry import find
from ..utils.weights import read_checkpoint
from .checkpoints import LastCheckpoint, WholeFiles, write_snapshot
from .checks import (
    check_arguments,
    check_output_folder,
    check_resumed,
    check_seed,
    check_training,
    plain,
    read_resumed,
)
from .curves import CurveLogger, StepNumbers
from .identity import RunIdentity, check_same_run, check_weights
from .processes import (
    STRATEGY,
    FailedElsewhereError,
    connected_processes,
    is_started_process,
    leave_error,
    raise_together,
    uses_many,
)
from .progress import StepProgressBar
from .random_state import RandomState
from .stopping import SharedStop, StopSignals
from .trainer_keys import check_checkpoint_keys, check_end, check_manual, check_many, check_spread, check_trainer
from .trial_folder import shared_folder, starts_now

KINDS: dict[str, type] = {"data_type": pl.LightningDataModule, "system_type": pl.LightningModule}
PACKAGE = __name__.partition(".")[0]
USER_ERROR = 2  # exit code
FLUSH_SECONDS = 10  # of TensorBoard's log


class PreparedRun(NamedTuple):
    """A run that `prepare` has checked and built, and that has not written anything yet."""

    cfg: Any  # config of the run
    system: Any  # BaseSystem
    data: Any  # LightningDataModule
    trainer: pl.Trainer
    checkpoint: dict | None  # content of the checkpoint to resume from


def launch(
    config: str,
    mode: str,
    overrides: Sequence[str] = (),
    n_gpus: int = 1,
    command: Sequence[str] = ("rsd", "launch"),
    overwrite: bool = False,
) -> int:
    """Train, validate, test or export the system of a config.

    Args:
        config: path of the YAML file.
        mode: `train` (followed by a test), `validate`, `test` or `export`.
        overrides: values `key.subkey=value` that override the file.
        n_gpus: number of GPUs that may be used; without a GPU, the CPU is used.
        command: words of the command line, for cmd.txt.
        overwrite: replace the results of a former run in the same trial folder.

    Returns:
        Exit code: 0; 130, 143 or 129 after SIGINT, SIGTERM or SIGHUP.

    Raises:
        UserError: a mistake that the user can fix. If a check finds it, nothing is written.
    """
    others = [sys.executable, "-m", f"{PACKAGE}.cli", "launch", "--config", config, f"--{mode}", *overrides]
    try:
        with StopSignals() as signals, connected_processes(_settings_of_many(config, overrides), others):
            run = _prepare_together(config, mode, overrides, n_gpus, signals)
            can_rename = bool(run.cfg.use_timestamp) and starts_now(config, overrides)
            with shared_folder(run.cfg, mode, can_rename, overwrite) as is_renamed:
                if is_renamed:
                    run = _moved(run, mode, signals)
                if mode == "train" and rank() == 0:
                    write_snapshot(config, run.cfg, command)
                _perform(run, mode)
    except Stopped as stopped:
        return stopped.exit_code
    except UserError as error:
        if is_started_process():
            leave_error(error)
        elif not isinstance(error, FailedElsewhereError):
            raise
        return USER_ERROR
    return 0


def _settings_of_many(config: str, overrides: Sequence[str]) -> dict:
    """Arguments of the trainer of a run on several devices, checked before other processes are started; else none.

    Raises:
        UserError: a key without effect, or a system of one device.
    """
    cfg = load_config(config, cli_args=overrides)
    settings = plain(cfg.trainer)
    if not uses_many(settings):
        return {}
    check_trainer(settings)
    check_spread(settings, _find("system_type", cfg.system_type))
    return _with_devices(settings)


def _prepare_together(
    config: str, mode: str, overrides: Sequence[str], n_gpus: int, signals: StopSignals
) -> PreparedRun:
    """`prepare` on all ranks; an error of one of them is raised on all."""
    run, failure = None, None
    try:
        run = prepare(config, mode, overrides, n_gpus, signals)
    except UserError as error:
        failure = error
    raise_together(failure)
    assert run is not None
    return run


def prepare(
    config: str,
    mode: str,
    overrides: Sequence[str] = (),
    n_gpus: int = 1,
    signals: StopSignals | None = None,
) -> PreparedRun:
    """Check and build everything without writing anything.

    Args:
        config: path of the YAML file.
        mode: `train`, `validate`, `test` or `export`.
        overrides: values `key.subkey=value` that override the file.
        n_gpus: number of GPUs that may be used.
        signals: signals that stop the run; None: none do.

    Raises:
        UserError: see `launch`.
    """
    cfg = load_config(config, cli_args=overrides, n_gpus=n_gpus)
    settings = plain(cfg.trainer)
    check_seed(cfg.seed)
    check_trainer(settings)
    check_checkpoint_keys(plain(cfg.checkpoint))
    check_output_folder(cfg.trial_dir)
    checkpoint = read_resumed(cfg.resume, mode)
    check_same_run(checkpoint, cfg)
    _check_weights(cfg)
    trainer = _make_trainer(cfg, mode, checkpoint, signals or StopSignals())

    pl.seed_everything(cfg.seed + get_rank(), workers=True)
    data = _find("data_type", cfg.data_type)(cfg.data)
    system = _find("system_type", cfg.system_type)(cfg.system, resumed=cfg.resume is not None)
    system.set_save_dir(str(Path(cfg.trial_dir, "save")))
    check_manual(settings, system)
    check_many(trainer, system)
    if hasattr(system, "check_data"):
        system.check_data(data)
    check_resumed(checkpoint, cfg.resume, system)
    if mode == "train":
        check_end(settings)
        check_training(system)
    trainer.loggers = [*trainer.loggers, *system.get_loggers()] if mode == "train" else []
    return PreparedRun(cfg, system, data, trainer, checkpoint)


def _moved(run: PreparedRun, mode: str, signals: StopSignals) -> PreparedRun:
    """The run with a trainer for the new name of its trial folder."""
    trainer = _make_trainer(run.cfg, mode, run.checkpoint, signals)
    trainer.loggers = [*trainer.loggers, *run.system.get_loggers()] if mode == "train" else []
    run.system.set_save_dir(str(Path(run.cfg.trial_dir, "save")))
    return run._replace(trainer=trainer)


def _check_weights(cfg: Any) -> None:
    path = plain(cfg.system).get("weights")
    if path is not None:
        check_weights(read_checkpoint(str(path), "system.weights"), str(path), cfg)


def _perform(run: PreparedRun, mode: str) -> None:
    try:
        _train(run) if mode == "train" else _evaluate(run, mode)
    except NonFiniteError as error:
        last = Path(run.cfg.trial_dir, "ckpts", "last.ckpt")
        kept = f" The last good checkpoint is {last}." if mode == "train" and last.is_file() else ""
        raise NonFiniteError(f"{error}{kept}") from error
    except MisconfigurationException as error:
        raise UserError(
            f"The section trainer or checkpoint is not accepted by Lightning: {_sentence(error)}"
        ) from error
    except Exception as error:
        if isinstance(error, UserError) or not _is_from_loading(error):
            raise
        reason = f"it lacks {error}" if isinstance(error, KeyError) else _sentence(error)[:-1]
        raise UserError(f"resume={run.cfg.resume!r} is incomplete or of another version: {reason}.") from error


def _train(run: PreparedRun) -> None:
    trainer, system, data = run.trainer, run.system, run.data
    wanted = str(run.cfg.trainer.get("precision"))
    if wanted.startswith("16") and trainer.precision == "32-true":
        warn(f"trainer.precision={wanted} needs a GPU; this run uses 32 bits.")
    steps = 0 if run.checkpoint is None else run.checkpoint["global_step"]
    if steps >= trainer.max_steps > 0:
        warn(
            f"resume={run.cfg.resume!r} has all {steps} steps of trainer.max_steps={trainer.max_steps}: nothing is "
            "trained, only tested."
        )
    info(f"Results go to {run.cfg.trial_dir}")
    trainer.fit(system, datamodule=data, ckpt_path=run.cfg.resume, **_weights_only(trainer.fit))
    trainer.test(system, datamodule=data, verbose=False)


def _evaluate(run: PreparedRun, mode: str) -> None:
    trainer, system, data = run.trainer, run.system, run.data
    if run.checkpoint is None:
        warn("No resume=PATH is given: the evaluated system was not trained.")
    else:
        system.set_resume_status(run.checkpoint["epoch"], run.checkpoint["global_step"])
    step = getattr(trainer, {"validate": "validate", "test": "test", "export": "predict"}[mode])
    quiet = {} if mode == "export" else {"verbose": False}
    step(system, datamodule=data, ckpt_path=run.cfg.resume, **quiet, **_weights_only(step))
    info(f"Results are in {system.get_save_dir()}")


def _is_from_loading(error: Exception) -> bool:
    """Whether an error was raised while Lightning restored a checkpoint."""
    frames = traceback.extract_tb(error.__traceback__)
    return any(Path(frame.filename).stem in ("checkpoint_connector", "migration") for frame in frames)


def _with_devices(settings: dict) -> dict:
    """Add the device to the trainer's arguments, and replace a precision that the CPU lacks."""
    if settings.get("accelerator") == "cpu":
        os.environ["RSD_DEVICE"] = "cpu"  # for get_device(), in this process and those it starts
    on_gpu = torch.cuda.is_available() and os.environ.get("RSD_DEVICE") != "cpu"
    given = {key: value for key, value in settings.items() if value is not None}  # null: Lightning's default
    settings = {"accelerator": "gpu" if on_gpu else "cpu", "devices": 1, **given}
    if on_gpu and not uses_many(settings) and torch.cuda.device_count() > 1:
        warn(f"A run uses one of the {torch.cuda.device_count()} GPUs; trainer.devices and rsd sweep use several.")
    settings["strategy"] = STRATEGY if uses_many(settings) else "auto"
    if not on_gpu and str(settings.get("precision")).startswith("16"):
        settings["precision"] = "32-true"
    return settings


def _make_trainer(cfg: Any, mode: str, checkpoint: dict | None, signals: StopSignals) -> pl.Trainer:
    settings = _with_devices(plain(cfg.trainer))
    callbacks: list[Callback] = []
    loggers: list = []
    if settings.get("enable_progress_bar", True):
        callbacks.append(StepProgressBar())
    if uses_many(settings):
        callbacks.insert(0, SharedStop(signals))
    if mode == "train":
        callbacks += [RandomState(), LearningRateMonitor(logging_interval="step"), StepNumbers(), RunIdentity(cfg)]
        if settings.get("enable_checkpointing", True):
            callbacks += _checkpoint_callbacks(cfg, signals)
        loggers = _loggers(cfg.trial_dir, 0 if checkpoint is None else checkpoint["global_step"])
        settings = {"enable_model_summary": False, **settings}
    check_arguments("trainer", settings, pl.Trainer.__init__)
    try:
        trainer = pl.Trainer(
            callbacks=[*callbacks, signals],  # it raises, so it is last
            logger=loggers,
            inference_mode=False,  # systems may need gradients in evaluation
            plugins=[WholeFiles()],
            **settings,
        )
    except (TypeError, ValueError, AttributeError, LookupError, MisconfigurationException) as error:
        raise UserError(f"The section trainer is not accepted by Lightning: {_sentence(error)}") from error
    return trainer


def _loggers(trial_dir: str, first_step: int) -> list:
    """Loggers that continue the files of an interrupted run."""
    tensorboard = TensorBoardLogger(
        trial_dir, name="tb_logs", version=0, purge_step=first_step or None, flush_secs=FLUSH_SECONDS
    )
    return [tensorboard, CurveLogger(trial_dir, first_step)]


def _checkpoint_callbacks(cfg: Any, signals: StopSignals) -> list[Callback]:
    settings = plain(cfg.checkpoint)
    folder = str(Path(cfg.trial_dir, "ckpts"))
    every_n_steps = settings.get("every_n_train_steps") or 0
    callbacks: list[Callback] = []
    # Lightning would write its own last.ckpt not at every validation, and beside an older one as last-v1.ckpt.
    if settings.pop("save_last", True):
        callbacks.append(LastCheckpoint(folder, every_n_steps, signals))
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
