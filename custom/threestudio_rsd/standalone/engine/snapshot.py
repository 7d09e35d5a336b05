"""What is written into the trial folder about the run itself."""

import os
import shlex
import shutil
from collections.abc import Sequence
from typing import Any

from ..utils.config import dump_config


def write_snapshot(config_path: str, cfg: Any, command: Sequence[str]) -> None:
    """Write configs/raw.yaml, configs/parsed.yaml and cmd.txt."""
    folder = os.path.join(cfg.trial_dir, "configs")
    os.makedirs(folder, exist_ok=True)
    raw = os.path.join(folder, "raw.yaml")
    if not (os.path.exists(raw) and os.path.samefile(config_path, raw)):
        shutil.copyfile(config_path, raw)
    dump_config(os.path.join(folder, "parsed.yaml"), cfg)
    with open(os.path.join(cfg.trial_dir, "cmd.txt"), "w", encoding="utf-8") as file:
        file.write(shlex.join(command) + "\n")
