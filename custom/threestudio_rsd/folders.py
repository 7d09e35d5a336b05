"""Output folders of the experiments."""

from pathlib import Path

from .errors import UserError


def make_folder(folder: Path) -> None:
    """Make an output folder, or say in one sentence why not.

    Raises:
        UserError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--output={str(folder)!r} cannot be made ({error.strerror}); accepted: a folder.") from error
