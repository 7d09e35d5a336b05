"""Paths of shipped files, and writing output files."""

import os
from pathlib import Path

from .errors import UserError


def data_path(relative: str) -> Path:
    """Path of a shipped file or folder, such as `load/toyworld/dino` or `configs/text2image/sds.yaml`.

    Raises:
        UserError: nothing of that name ships.
    """
    path = Path(__file__).parent / relative
    if not path.exists():
        raise UserError(f"{relative!r} does not ship with threestudio-rsd: {path} is missing; reinstall the package.")
    return path


def make_folder(folder: Path) -> None:
    """Make an output folder, or say in one sentence why not.

    Raises:
        UserError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--output={str(folder)!r} cannot be made ({error.strerror}); accepted: a folder.") from error


def write_whole(path: Path, text: str) -> Path:
    """Write a file of text whole or not at all."""
    unfinished = path.with_name(path.name + ".tmp")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)
    return path
