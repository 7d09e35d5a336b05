"""The trial folder of a run: it belongs to one process, and former results are not overwritten in silence."""

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from ...errors import UserError
from ...files import UNFINISHED, locked_folder
from ...particles.ranks import n_ranks, rank, share
from .checks import make_output_folder
from .processes import raise_together

CONTENT = ("ckpts", "save", "csv_logs", "tb_logs", "configs", "cmd.txt")  # what a run writes
WAIT = 10.0  # seconds; a run whose sweep was killed saves first
MOST_NAMES = 1000  # names that are tried for runs that start in the same second


@contextlib.contextmanager
def claimed_folder(cfg: Any, mode: str, can_rename: bool, overwrite: bool) -> Iterator[bool]:
    """Context that owns the trial folder of a config, and makes it.

    Args:
        cfg: config of the run. `trial_dir` is changed where `can_rename` and the folder belongs to another run.
        mode: `train`, `validate`, `test` or `export`.
        can_rename: whether the folder's name ends with the time of the start, so that another name does as well.
        overwrite: remove the results of a former run.

    Yields:
        Whether the folder was renamed.

    Raises:
        UserError: the folder cannot be made, is in use, or holds the results of another run.
    """
    begun = cfg.timestamp
    for index in range(MOST_NAMES):
        if index:
            _rename(cfg, f"{begun}-{index}")
        with contextlib.ExitStack() as stack:
            try:
                make_output_folder(cfg.trial_dir)
                stack.enter_context(_owned(cfg, 0.0 if can_rename else WAIT))
                _remove_unfinished(Path(cfg.trial_dir))
                _check_results(cfg, mode, overwrite)
            except _TakenError as taken:
                if can_rename:
                    continue
                raise UserError(str(taken)) from None
            if mode == "train" and cfg.resume is None and overwrite:
                remove_results(Path(cfg.trial_dir))
            yield index > 0
            return
    raise UserError(f"{cfg.trial_dir} and {MOST_NAMES} further names are taken; set another tag.")


@contextlib.contextmanager
def shared_folder(cfg: Any, mode: str, can_rename: bool, overwrite: bool) -> Iterator[bool]:
    """`claimed_folder` for a run in one or several processes: rank 0 owns the folder, and all use its name.

    Raises:
        UserError: see `claimed_folder`; raised on all ranks.
    """
    if n_ranks() == 1:
        with claimed_folder(cfg, mode, can_rename, overwrite) as is_renamed:
            yield is_renamed
        return
    with contextlib.ExitStack() as stack:
        failure = None
        if rank() == 0:
            try:
                stack.enter_context(claimed_folder(cfg, mode, can_rename, overwrite))
            except UserError as error:
                failure = error
        raise_together(failure)
        cfg.timestamp, cfg.trial_name, cfg.trial_dir = share((cfg.timestamp, cfg.trial_name, cfg.trial_dir))
        yield True


def starts_now(config: str, overrides: Sequence[str]) -> bool:
    """Whether the name of the trial folder gets the present time, which the user has not set."""
    given = OmegaConf.load(config)
    return OmegaConf.select(given, "timestamp") is None and not any(each.startswith("timestamp=") for each in overrides)


def remove_results(folder: Path) -> None:
    """Remove the output of a former run from its trial folder; other files are kept."""
    for name in CONTENT:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


class _TakenError(UserError):
    """The folder belongs to another run."""


@contextlib.contextmanager
def _owned(cfg: Any, wait: float) -> Iterator[None]:
    in_use = f"{cfg.trial_dir} is in use by another run ({{owner}}); wait for it, or set another tag."
    stack = contextlib.ExitStack()
    try:
        stack.enter_context(locked_folder(Path(cfg.trial_dir), in_use, wait))
    except UserError as error:
        raise _TakenError(str(error)) from error
    with stack:
        yield


def _check_results(cfg: Any, mode: str, overwrite: bool) -> None:
    """Check that the folder has no results, or those of the run that goes on or is evaluated."""
    folder = Path(cfg.trial_dir)
    own = cfg.resume is not None and folder.resolve() in Path(cfg.resume).resolve().parents
    if overwrite or own:
        return
    checkpoints = sorted((folder / "ckpts").glob("*.ckpt"), key=lambda file: file.stat().st_mtime)
    if checkpoints:
        what = f"holds the run of {checkpoints[-1]}; continue it with resume={checkpoints[-1]}, "
    elif mode == "train" and (folder / "save" / "metrics.json").is_file():
        what = f"holds the results {folder / 'save' / 'metrics.json'}; "
    else:
        return
    raise _TakenError(f"{cfg.trial_dir} {what}set another tag, or give --overwrite to replace it.")


def _remove_unfinished(folder: Path) -> None:
    """Remove files that a killed process was writing."""
    for file in folder.rglob(f"*{UNFINISHED}*"):
        file.unlink(missing_ok=True)


def _rename(cfg: Any, timestamp: str) -> None:
    cfg.timestamp = timestamp
    cfg.trial_name = f"{cfg.tag}{timestamp}"
    cfg.trial_dir = str(Path(cfg.exp_dir, cfg.trial_name))
