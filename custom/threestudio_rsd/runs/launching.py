"""Starting one run of the stand-in: its config, the registered modules and the launch itself."""

import importlib
import os
from collections.abc import Sequence

from ..errors import UserError
from ..files import data_path


def launch(
    config: str,
    mode: str,
    overrides: Sequence[str] = (),
    gpus: str = "0",
    verbose: bool = False,
    command: Sequence[str] | None = None,
) -> int:
    """Train, validate, test or export one experiment with the stand-in for threestudio.

    Args:
        config: YAML file, or the name of a shipped one, see `find_config`.
        mode: `train` (followed by a test), `validate`, `test` or `export`.
        overrides: `key.subkey=value`.
        gpus: indices of the GPUs, such as `0` or `1,2`; the CPU if there are none.
        verbose: whether debug messages are shown.
        command: written to cmd.txt; None: the equivalent `rsd launch`.

    Returns:
        Exit code: 0, or 130 after Ctrl-C.

    Raises:
        UserError: see `standalone.engine.launch.launch`.
    """
    n_gpus = _choose_gpus(gpus)
    from .. import host

    if host.HOST != "embedded":
        raise UserError("RSD_HOST='threestudio' has its own launcher, `python launch.py`; accepted here: embedded.")
    from ..standalone.engine import launch as engine
    from ..standalone.utils.messages import set_up_messages

    set_up_messages(verbose)
    register_modules()
    command = command or ["rsd", "launch", "--config", config, f"--{mode}", *overrides]
    return engine.launch(find_config(config), mode, overrides, n_gpus, command)


def register_modules() -> None:
    """Import every package whose modules configs name."""
    for package in ("prompt_processor", "guidance", "data", "systems", "ensembles", "threestudio_dreamfusion"):
        importlib.import_module(f"..extension.{package}", __package__)


def find_config(name: str) -> str:
    """Path of a config: a file, or one that ships, such as `configs/text2image/sds.yaml`.

    Raises:
        UserError: there is neither.
    """
    if os.path.isfile(name):
        return name
    if not os.path.isabs(name):
        for shipped in (name, os.path.join("configs", name)):
            try:
                path = data_path(shipped)
            except UserError:
                continue
            if path.is_file():
                return str(path)
    folder = data_path("configs")
    names = ", ".join(f"configs/{path.relative_to(folder).as_posix()}" for path in sorted(folder.rglob("*.yaml")))
    raise UserError(f"config={name!r} is not a file; accepted: a YAML file of yours, or one that ships: {names}.")


def _choose_gpus(wanted: str) -> int:
    """Number of GPUs, which are made the visible ones unless CUDA_VISIBLE_DEVICES says so already."""
    ids = [part for part in wanted.split(",") if part]
    if not ids or not all(part.isdigit() for part in ids):
        raise UserError(f"--gpu={wanted!r} is not understood; accepted: numbers such as 0 or 1,2.")
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:  # empty: the GPUs are hidden on purpose
        return max(1, len([part for part in visible.split(",") if part]))
    os.environ["CUDA_VISIBLE_DEVICES"] = wanted
    return len(ids)
