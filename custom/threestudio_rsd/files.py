"""Paths of shipped files, and writing output files."""

import contextlib
import fcntl
import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from .errors import NonFiniteError, UserError

LOCK = ".lock"  # file by which a folder is owned
LOCK_POLL = 0.1  # seconds
UNFINISHED = ".part"  # before the suffix of files that are being written


def data_path(relative: str) -> Path:
    """Path of a file or folder that is shipped with this package.

    Args:
        relative: path within the package, such as `load/toyworld/dino` or `configs/text2image/sds.yaml`.

    Raises:
        UserError: it does not exist.

    Example:
        >>> data_path("configs/text2image/sds.yaml").is_file()
        True
    """
    path = Path(__file__).parent / relative
    if not os.path.exists(path):  # noqa: PTH110 False for a name that is too long; Path.exists() raises
        top = Path(__file__).parent / relative.split("/")[0]
        if top.is_symlink():  # configs and load are links to folders of the repository
            raise UserError(
                f"{relative!r} cannot be found: {top} is a link to a folder that was not copied along; copy the "
                "package with `cp -rL`, or link it."
            )
        raise UserError(f"{relative!r} is not shipped with threestudio-rsd: {path} is missing; reinstall the package.")
    return path


def make_folder(folder: Path) -> None:
    """Make an output folder, with its parents.

    Args:
        folder: folder of the option --output; may exist.

    Raises:
        UserError: the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--output={str(folder)!r} cannot be made ({error.strerror}); accepted: a folder.") from error


@contextlib.contextmanager
def locked_folder(folder: Path, in_use: str, wait: float = 0.0) -> Iterator[None]:
    """Context that owns a folder: no other process can enter it for the same folder. The lock ends with the process.

    Args:
        folder: folder that exists; it gets a file `.lock` with the process id of its owner.
        in_use: sentence for the error, in which {owner} is replaced.
        wait: seconds to wait for another owner to leave.

    Raises:
        UserError: another process owns the folder.
    """
    with (folder / LOCK).open("a+", encoding="utf-8") as file:
        if not _lock(file, wait):
            file.seek(0)
            owner = file.read(40).strip()
            raise UserError(in_use.format(owner=f"process {owner}" if owner else "another process"))
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _lock(file: IO[str], wait: float) -> bool:
    """Lock an open file; returns whether that succeeded."""
    deadline = time.monotonic() + wait
    while not _try_lock(file):
        if time.monotonic() >= deadline:
            return False
        time.sleep(LOCK_POLL)
    return True


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # the file system has no locks
        return True
    return True


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Context that writes a file, so that an interruption leaves the old file or none, never a part of the new one.

    Args:
        path: file to write or replace.

    Yields:
        Temporary path beside it, to be written within the context. At the end of the context it becomes `path`; after
        an error it is removed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with whole_file(Path(folder) / "a.txt") as unfinished:
        ...         _ = unfinished.write_text("all of it")
        ...     (Path(folder) / "a.txt").read_text()
        'all of it'
    """
    # The suffix stays the last, because writers of images and videos choose the format by it.
    unfinished = path.with_name(f"{path.stem}.{os.getpid()}{UNFINISHED}{path.suffix}")
    try:
        yield unfinished
        unfinished.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise


def write_whole(path: Path, text: str) -> Path:
    """Write a text file as a whole, see `whole_file`.

    Args:
        path: file to write or replace.
        text: content, written as UTF-8.

    Returns:
        `path`
    """
    with whole_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
    return path


def write_json(path: Path, payload: Any) -> Path:
    """Write numbers, texts, lists and dicts as a JSON file, as a whole, see `whole_file`.

    Args:
        path: file to write or replace.
        payload: content.

    Returns:
        `path`

    Raises:
        NonFiniteError: a number is NaN or infinite; names its key.
    """
    for key, value in _not_finite(payload):
        raise NonFiniteError(f"{path.name} is not written: {key} is {value}, which is no result.")
    return write_whole(path, json.dumps(payload, indent=1, ensure_ascii=False) + "\n")


def infinities_as_text(settings: Any) -> Any:
    """Config values for `write_json`, where infinity may be a setting; JSON has no number for it.

    Args:
        settings: number, text, or lists and dicts of these.

    Returns:
        a copy in which NaN and infinities are the texts that YAML files have for them.

    Example:
        >>> infinities_as_text({"repulsion_interval": [0.5, float("inf")]})
        {'repulsion_interval': [0.5, '.inf']}
    """
    if isinstance(settings, dict):
        return {key: infinities_as_text(value) for key, value in settings.items()}
    if isinstance(settings, list | tuple):
        return [infinities_as_text(value) for value in settings]
    if isinstance(settings, float) and not math.isfinite(settings):
        return f"{settings}".replace("inf", ".inf").replace("nan", ".nan")
    return settings


def _not_finite(payload: Any, key: str = "") -> Iterator[tuple[str, float]]:
    """Dotted keys and values of the numbers that are not finite."""
    if isinstance(payload, float) and not math.isfinite(payload):
        yield key or "the content", payload
    if isinstance(payload, dict | list | tuple):
        for name, value in payload.items() if isinstance(payload, dict) else enumerate(payload):
            yield from _not_finite(value, f"{key}.{name}" if key else str(name))
