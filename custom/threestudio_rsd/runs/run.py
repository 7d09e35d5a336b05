"""One run of a sweep: its command, its folder and the results in it."""

import json
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ..errors import UserError
from .grid import make_tag
from .result_files import damaged, flatten, read_metrics
from .trial import SKIPPED_KEYS

OWN_KEYS = ("name", "tag", "use_timestamp", "timestamp", "exp_root_dir", "resume")  # config keys that `Run` sets
# Config keys that may differ between starts of the same run: where it is stored, and from what it resumes.
UNCOMPARED_KEYS = (*SKIPPED_KEYS, "resume", "n_gpus")
ERROR_MARK = "rsd: error: "


@dataclass(frozen=True)
class Run:
    """A call of `rsd launch`.

    Attributes:
        config: YAML file.
        settings: config values by dotted key.
        output: folder of the sweep.
        method: prefix of the folder's name, for folders with runs of several configs.
        shown: keys of the settings in the folder's name; None: all.
    """

    config: str
    settings: dict[str, Any]
    output: Path
    method: str = ""
    shown: tuple[str, ...] | None = None

    @property
    def tag(self) -> str:
        """Name of the run's folder, see `make_tag`."""
        shown = {key: value for key, value in self.settings.items() if self.shown is None or key in self.shown}
        return make_tag(shown, self.method, {key: self.settings[key] for key in self.settings.keys() - shown.keys()})

    @property
    def folder(self) -> Path:
        """Trial folder."""
        return self.output / "runs" / self.tag

    @property
    def log(self) -> Path:
        """Output of the run's process, of all its starts."""
        return self.output / "logs" / f"{self.tag}.log"

    @property
    def checkpoint(self) -> Path:
        """Checkpoint from which the run resumes, if the file exists."""
        return self.folder / "ckpts" / "last.ckpt"

    def overrides(self) -> list[str]:
        """Overrides for `rsd launch`. Values are JSON, which is valid YAML."""
        own = {"exp_root_dir": str(self.output), "name": "runs", "tag": self.tag, "use_timestamp": False}
        return spelled_overrides({**own, **self.settings})

    def command(self) -> list[str]:
        """Program and arguments that start the run, or resume it from its checkpoint."""
        resume = [f"resume={json.dumps(str(self.checkpoint))}"] if self.checkpoint.is_file() else []
        return [*launcher(), "--config", self.config, "--train", *self.overrides(), *resume]

    def metrics(self) -> dict[str, Any] | None:
        """Content of save/metrics.json, which a run writes at its end; None if it has not finished.

        Raises:
            UserError: the file is damaged.
        """
        return read_metrics(self.folder)

    def check_folder(self, config: Any) -> None:
        """Check that the results in the folder, if there are any, were made with this config.

        Args:
            config: resolved config of the run.

        Raises:
            UserError: they were made with another config; names a key that differs.
        """
        parsed = self.folder / "configs" / "parsed.yaml"
        if not parsed.is_file() or not (self.checkpoint.is_file() or self.metrics() is not None):
            return
        try:
            before = _compared(OmegaConf.load(parsed))
        except (OSError, yaml.YAMLError, OmegaConfBaseException, ValueError, RecursionError) as error:
            raise damaged(parsed, error) from error
        now = _compared(OmegaConf.create(OmegaConf.to_yaml(config)))
        for key in {**before, **now}:
            if before.get(key) != now.get(key):
                raise UserError(
                    f"{str(self.folder)!r} was made with {key}={before.get(key)!r}, which is now {now.get(key)!r}; "
                    "choose another --output or remove that folder."
                )

    def failure(self, code: int) -> str:
        """Reason why the run's process failed: its signal, or the last line of its error.

        Args:
            code: exit code, negative for a signal.
        """
        if code < 0:
            name = signal.Signals(-code).name
            return f"ended by {name}" + (", possibly because memory ran out" if name == "SIGKILL" else "")
        if code == 0:
            return "ended without save/metrics.json"
        lines = last_log(self.log)
        return error_sentence(lines) or (lines or [f"ended with exit code {code}"])[-1]


def last_log(log: Path) -> list[str]:
    """Lines of a log since the last start of its run; none if it cannot be read."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    lines = [line.strip() for line in re.split(r"[\r\n]", text) if line.strip()]
    start = max((i for i, line in enumerate(lines) if line.startswith("$ ")), default=-1)
    return lines[start + 1 :]


def error_sentence(lines: Sequence[str]) -> str | None:
    """Last sentence with which `rsd` ended in lines of a log; None if there is none."""
    marked = [line.removeprefix(ERROR_MARK) for line in lines if line.startswith(ERROR_MARK)]
    return marked[-1] if marked else None


def spelled_overrides(values: Mapping[str, Any]) -> list[str]:
    """Overrides KEY=VALUE of `rsd launch`. Values are JSON, which is valid YAML."""
    return [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]


def launcher() -> list[str]:
    """Command `rsd launch`, run by this Python."""
    return [sys.executable, "-m", "threestudio_rsd.cli", "launch"]


def _compared(config: Any) -> dict[str, Any]:
    values = flatten(OmegaConf.to_container(config, resolve=False))
    return {key: value for key, value in values.items() if key not in UNCOMPARED_KEYS}
