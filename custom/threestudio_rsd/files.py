"""Paths of shipped files, and writing output files."""

import os
from pathlib import Path

from .errors import UserError


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


def write_whole(path: Path, text: str) -> Path:
    """Write a text file, so that an interruption leaves the old file or none, never a part of the new one.

    Args:
        path: file to write or replace.
        text: content, written as UTF-8.

    Returns:
        `path`
    """
    unfinished = path.with_name(path.name + ".tmp")
    unfinished.write_text(text, encoding="utf-8")
    return unfinished.replace(path)
