"""Starts one run: finds its config, registers the modules that configs name, and launches the run."""

import importlib
import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError, shorten
from ..files import data_path


def launch(
    config: str,
    mode: str,
    overrides: Sequence[str] = (),
    gpus: str = "0",
    verbose: bool = False,
    command: Sequence[str] | None = None,
    overwrite: bool = False,
) -> int:
    """Train, validate, test or export one experiment with the stand-in for threestudio.

    Args:
        config: YAML file, or the name of a shipped one, see `find_config`.
        mode: `train` (followed by a test), `validate`, `test` or `export`.
        overrides: `key.subkey=value`.
        gpus: indices of the GPUs, such as `0` or `1,2`; the CPU if there are none.
        verbose: show debug messages.
        command: command line to record in cmd.txt; None: that of the equivalent `rsd launch`.
        overwrite: replace the results of a former run in the same trial folder.

    Returns:
        Exit code: 0; 130, 143 or 129 after SIGINT, SIGTERM or SIGHUP.

    Raises:
        UserError: a mistake of the user, see `standalone.engine.launch.launch`.
    """
    n_gpus, path = _choose_gpus(gpus), find_config(config)  # before the imports, which take seconds
    from .. import host

    if host.HOST != "embedded":
        raise UserError("RSD_HOST='threestudio' has its own launcher, `python launch.py`; accepted here: embedded.")
    from ..standalone.engine import launch as engine
    from ..standalone.utils.messages import set_up_messages

    set_up_messages(verbose)
    register_modules()
    command = command or ["rsd", "launch", "--config", config, f"--{mode}", *overrides]
    return engine.launch(path, mode, overrides, n_gpus, command, overwrite)


def register_modules() -> None:
    """Import the packages whose modules configs name, which registers them."""
    for package in ("prompt_processor", "guidance", "data", "systems", "ensembles", "threestudio_dreamfusion"):
        importlib.import_module(f"..extension.{package}", __package__)


def find_config(name: str) -> str:
    """Path of a config.

    Args:
        name: path of a YAML file, or name of a shipped config, such as `configs/text2image/sds.yaml`.

    Raises:
        UserError: there is no such file.
    """
    name = os.path.expanduser(name)  # noqa: PTH111 Path.expanduser() raises for an unknown user
    if os.path.isfile(name):  # noqa: PTH113 False for a name that is too long; Path.is_file() raises
        return name
    if not Path(name).is_absolute():
        for shipped in (name, f"configs/{name}"):
            try:
                path = data_path(shipped)
            except UserError:
                continue
            if path.is_file():
                return str(path)
    folder = data_path("configs")
    names = ", ".join(f"configs/{path.relative_to(folder).as_posix()}" for path in sorted(folder.rglob("*.yaml")))
    raise UserError(f"config={shorten(name)!r} is not a file; accepted: a YAML file, or a shipped config: {names}.")


def _choose_gpus(wanted: str) -> int:
    """Make GPUs visible, unless CUDA_VISIBLE_DEVICES is set already; returns the number of visible GPUs."""
    ids = [part for part in wanted.split(",") if part]
    if not ids or not all(part.isdigit() for part in ids):
        raise UserError(f"--gpu={wanted!r} is not understood; accepted: numbers such as 0 or 1,2.")
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:  # an empty value hides all GPUs
        return max(1, len([part for part in visible.split(",") if part]))
    os.environ["CUDA_VISIBLE_DEVICES"] = wanted
    return len(ids)
