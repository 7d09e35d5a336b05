"""One run of a sweep: its command, its folder, and what it left there."""

import json
import re
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from ..errors import UserError
from .grid import make_tag
from .trial import SKIPPED_KEYS, flatten

OWN_KEYS = ("name", "tag", "use_timestamp", "timestamp", "exp_root_dir", "resume")  # set by the sweep
# Where a run lies and what it goes on from are no part of its settings.
UNCOMPARED_KEYS = (*SKIPPED_KEYS, "resume", "n_gpus")
ERROR_MARK = "rsd: error: "


@dataclass(frozen=True)
class Run:
    """`rsd launch` with some settings.

    Attributes:
        config: YAML file.
        settings: values by dotted key.
        output: folder of the sweep.
        method: stands in the folder's name, where runs of several configs lie side by side.
        shown: settings that stand there; None: all.
    """

    config: str
    settings: dict[str, Any]
    output: Path
    method: str = ""
    shown: tuple[str, ...] | None = None

    @property
    def tag(self) -> str:
        shown = {key: value for key, value in self.settings.items() if self.shown is None or key in self.shown}
        return make_tag(shown, self.method, {key: self.settings[key] for key in self.settings.keys() - shown.keys()})

    @property
    def folder(self) -> Path:
        """Trial folder."""
        return self.output / "runs" / self.tag

    @property
    def log(self) -> Path:
        """What the process printed, of all its starts."""
        return self.output / "logs" / f"{self.tag}.log"

    @property
    def checkpoint(self) -> Path:
        """The checkpoint to go on from, where there is one."""
        return self.folder / "ckpts" / "last.ckpt"

    def overrides(self) -> list[str]:
        """Of the config, as for `rsd launch`; JSON is YAML, in which they are read."""
        own = {"exp_root_dir": str(self.output), "name": "runs", "tag": self.tag, "use_timestamp": False}
        return [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in {**own, **self.settings}.items()]

    def command(self) -> list[str]:
        """Program and arguments; the run goes on where its checkpoint ends."""
        resume = [f"resume={json.dumps(str(self.checkpoint))}"] if self.checkpoint.is_file() else []
        return [*launcher(), "--config", self.config, "--train", *self.overrides(), *resume]

    def metrics(self) -> dict[str, Any] | None:
        """Content of save/metrics.json, which a run writes last; None if it has not finished."""
        try:
            return json.loads((self.folder / "save" / "metrics.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):  # none, or cut off
            return None

    def check_folder(self, config: Any) -> None:
        """Raise UserError if the folder holds work that was done with another config than this resolved one."""
        parsed = self.folder / "configs" / "parsed.yaml"
        if not parsed.is_file() or not (self.checkpoint.is_file() or self.metrics() is not None):
            return
        before = _compared(OmegaConf.load(parsed))
        now = _compared(OmegaConf.create(OmegaConf.to_yaml(config)))
        for key in {**before, **now}:
            if before.get(key) != now.get(key):
                raise UserError(
                    f"{str(self.folder)!r} was made with {key}={before.get(key)!r}, which is now {now.get(key)!r}; "
                    "choose another --output or remove that folder."
                )

    def failure(self, code: int) -> str:
        """Why a process that ended with this code has failed: the last line of its error."""
        if code < 0:
            name = signal.Signals(-code).name
            return f"ended by {name}" + (", perhaps for want of memory" if name == "SIGKILL" else "")
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            text = ""
        lines = [line.strip() for line in re.split(r"[\r\n]", text) if line.strip()]
        start = max((i for i, line in enumerate(lines) if line.startswith("$ ")), default=-1)  # of the last process
        lines = lines[start + 1 :]
        if code == 0:
            return "ended without save/metrics.json"
        marked = [line.removeprefix(ERROR_MARK) for line in lines if line.startswith(ERROR_MARK)]
        return (marked or lines or [f"ended with exit code {code}"])[-1]


def launcher() -> list[str]:
    """`rsd launch` of this very Python."""
    return [sys.executable, "-m", "threestudio_rsd.cli", "launch"]


def _compared(config: Any) -> dict[str, Any]:
    values = flatten(OmegaConf.to_container(config, resolve=False))
    return {key: value for key, value in values.items() if key not in UNCOMPARED_KEYS}
