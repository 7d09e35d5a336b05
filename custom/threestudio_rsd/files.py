"""Where the configs and data that ship with the package lie: in a checkout, a wheel, or linked into threestudio."""

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
