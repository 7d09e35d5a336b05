"""Safetensors files of results, with the settings that they were made with."""

from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from .files import whole_file


def write_tensors(file: Path, tensors: dict[str, Tensor], made_with: str, **facts: str) -> None:
    """Write tensors as a whole, see `whole_file`.

    Args:
        file: file to write or replace.
        tensors: contiguous tensors by name.
        made_with: settings, as text; see `read_tensors`.
        **facts: further texts to keep.
    """
    with whole_file(file) as unfinished:
        save_file(tensors, unfinished, {"made_with": made_with, **facts})


def read_tensors(file: Path, made_with: str) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    """Tensors of a file and its facts; None where there is no file, or one of other settings.

    Args:
        file: file that `write_tensors` wrote.
        made_with: settings that it must have.
    """
    if not file.is_file():
        return None
    with safe_open(file, "pt") as opened:
        facts: dict[str, str] = opened.metadata()
        if facts["made_with"] != made_with:
            return None
        return {name: opened.get_tensor(name) for name in opened.keys()}, facts  # noqa: SIM118 it is no dictionary
