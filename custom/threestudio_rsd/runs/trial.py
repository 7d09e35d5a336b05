"""What a finished run left in its trial folder, read back for tables and pages."""

import csv
import json
import platform
import re
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from ..errors import UserError

Curve = list[tuple[int, float]]
VERSIONS_OF = ("threestudio-rsd", "torch", "pytorch-lightning", "diffusers", "transformers", "omegaconf")
# Where a run lies is no part of its settings.
SKIPPED_KEYS = ("name", "tag", "timestamp", "trial_name", "trial_dir", "exp_dir", "exp_root_dir", "use_timestamp")
TRAIN, DIVERSITY = "train/", "diversity_"  # before the names of logged values


@dataclass
class Trial:
    """One run: what it is called, what it shows and what was measured.

    Attributes:
        label: for people.
        grid: PNG of all particles.
        metrics: content of save/metrics.json.
        curves: diversity over the steps by feature network, [(step, value), ...].
        config: config values by dotted key.
    """

    label: str
    grid: Path
    metrics: dict[str, Any]
    curves: dict[str, Curve] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)


def read_trial(folder: Path, label: str) -> Trial:
    """Read a trial folder of one of the systems of this package.

    Raises:
        UserError: the run has not finished: there is no grid or no metrics.
    """
    metrics, grid = folder / "save" / "metrics.json", find_grid(folder)
    if not metrics.is_file() or grid is None:
        raise UserError(f"{str(folder)!r} holds no finished run: save/metrics.json or save/it*-test.png is missing.")
    return Trial(
        label=label,
        grid=grid,
        metrics=json.loads(metrics.read_text()),
        curves=read_curves(folder / "csv_logs"),
        config=read_config(folder),
    )


def read_config(folder: Path) -> dict[str, Any]:
    """Config values of a trial folder by dotted key; none where configs/parsed.yaml is missing."""
    parsed = folder / "configs" / "parsed.yaml"
    return flatten(OmegaConf.to_container(OmegaConf.load(parsed), resolve=False)) if parsed.is_file() else {}


def read_curves(logs: Path) -> dict[str, Curve]:
    """Diversity over the steps by feature network, from csv_logs."""
    return {
        name.removeprefix(DIVERSITY): curve for name, curve in read_logs(logs).items() if name.startswith(DIVERSITY)
    }


def read_logs(logs: Path) -> dict[str, Curve]:
    """`train/*` of all versions under csv_logs; of a step logged twice, the later version counts."""
    values: dict[str, dict[int, float]] = {}
    for path in sorted(logs.glob("version_*/metrics.csv"), key=lambda path: int(path.parent.name.split("_")[1])):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                for name, value in row.items():
                    if name and name.startswith(TRAIN) and value:
                        values.setdefault(name.removeprefix(TRAIN), {})[int(row["step"])] = float(value)
    return {name: sorted(points.items()) for name, points in sorted(values.items())}


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}; lists count as values."""
    if not isinstance(config, dict):
        return {prefix: config}
    result: dict[str, Any] = {}
    for key, value in config.items():
        result |= flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return result


def config_differences(trials: list[Trial]) -> dict[str, list[Any]]:
    """Config keys whose values differ between the trials, with one value per trial (None: not set).

    Trials of different systems have few keys in common: between them the system's name is the difference.
    """
    systems: dict[Any, list[int]] = {}
    for index, trial in enumerate(trials):
        systems.setdefault(trial.config.get("system_type"), []).append(index)
    keys = dict.fromkeys(key for trial in trials for key in trial.config)
    rows = {key: [trial.config.get(key) for trial in trials] for key in keys}

    def differs(key: str, row: list[Any]) -> bool:
        if key == "system_type":
            return len(systems) > 1
        return any(row[index] != row[group[0]] for group in systems.values() for index in group)

    return {key: row for key, row in rows.items() if differs(key, row)}


def find_grid(folder: Path) -> Path | None:
    """The last grid of images, or contact sheet of 3D objects, in a trial folder; None if there is none."""
    found = [*(folder / "save").glob("it*-test.png"), *(folder / "save").glob("it*-test-sheet.png")]
    return max(found, key=_step, default=None)


def _step(grid: Path) -> int:
    found = re.match(r"it(\d+)-", grid.name)
    return int(found.group(1)) if found else -1


def versions(*further: str) -> dict[str, str]:
    """Versions of Python and of the libraries that a result depends on, `further` ones too."""
    found = {"Python": platform.python_version()}
    for name in (*VERSIONS_OF, *further):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
