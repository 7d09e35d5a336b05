"""Reads the trial folder of a finished run: images, metrics, curves and config, for tables and pages."""

import csv
import platform
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from ..metrics.names import METRICS
from .result_files import damaged, flatten

Curve = list[tuple[int, float]]  # (step, value)
VERSIONS_OF = ("threestudio-rsd", "torch", "pytorch-lightning", "diffusers", "transformers", "omegaconf")
# Config keys that say where a run is stored. They are not compared between runs.
SKIPPED_KEYS = ("name", "tag", "timestamp", "trial_name", "trial_dir", "exp_dir", "exp_root_dir", "use_timestamp")
TRAIN, DIVERSITY = "train/", "diversity_"  # prefixes of the names of logged values
# Metrics with one number for each feature network. Similarity is left out: diversity is 1 minus it.
NETWORK_METRICS = ("diversity", "vendi")
NETWORK_PREFIXES = tuple(f"{name}_" for name in NETWORK_METRICS)


def read_values(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Numbers of a metrics.json by their keys in `metrics.names`, such as `diversity_dino`, `psnr` or `colors`.

    Args:
        metrics: content of the file. Runs on inverse problems have their means over the images under `mean`.

    Returns:
        Value by key. Entries that are not in `metrics.names`, and metrics that were not measured, are left out.

    Example:
        >>> read_values({"steps": 9, "diversity": {"dino": 0.5}})
        {'diversity_dino': 0.5}
        >>> read_values({"mean": {"psnr": 21.5, "psnr_of_mean": 23.0, "diversity_dino": 0.4}})
        {'psnr': 21.5, 'psnr_of_mean': 23.0, 'diversity_dino': 0.4}
    """
    values = {}
    for key, value in flatten({**metrics, **(metrics.get("mean") or {})}).items():
        name = key.replace(".", "_") if key.partition(".")[0] in NETWORK_METRICS else key
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and (name in METRICS or name.startswith(NETWORK_PREFIXES)):
            values[name] = float(value)
    return values


def read_logs(logs: Path) -> dict[str, Curve]:
    """Logged `train/*` values over the steps, by name, from all versions in the folder csv_logs.

    Runs of earlier versions logged to a new file when they were resumed; where two files logged the same step, the
    later one is used.

    Raises:
        UserError: a file is damaged.
    """
    values: dict[str, dict[int, float]] = {}
    for path in sorted(logs.glob("version_*/metrics.csv"), key=_version_number):
        for name, step, value in _read_log(path):
            values.setdefault(name, {})[step] = value
    return {name: sorted(points.items()) for name, points in sorted(values.items())}


def _read_log(path: Path) -> list[tuple[str, int, float]]:
    """Name, step and value of each logged value in a file."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(_logged(csv.DictReader(file)))
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise damaged(path, error) from error


def _version_number(path: Path) -> int:
    found = re.fullmatch(r"version_(\d{1,9})", path.parent.name)
    return int(found.group(1)) if found else -1


def _logged(rows: Iterable[Mapping[str, str]]) -> Iterator[tuple[str, int, float]]:
    """Name, step and value of each logged value."""
    for row in rows:
        for name, value in row.items():
            if name and name.startswith(TRAIN) and value:
                yield name.removeprefix(TRAIN), int(row["step"]), float(value)


def config_differences(configs: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Config keys whose values differ between runs, each with the runs' values in order (None: not set).

    Values are compared between runs of the same system. Different systems have few keys in common: of their
    differences only `system_type` is listed.
    """
    systems: dict[Any, list[int]] = {}
    for index, config in enumerate(configs):
        systems.setdefault(config.get("system_type"), []).append(index)
    keys = dict.fromkeys(key for config in configs for key in config)
    rows = {key: [config.get(key) for config in configs] for key in keys}

    def differs(key: str, row: list[Any]) -> bool:
        if key == "system_type":
            return len(systems) > 1
        return any(row[index] != row[group[0]] for group in systems.values() for index in group)

    return {key: row for key, row in rows.items() if differs(key, row)}


def find_grid(folder: Path) -> Path | None:
    """Grid of images, or contact sheet of 3D objects, of the last test in a trial folder; None if there is none."""
    found = [*(folder / "save").glob("it*-test.png"), *(folder / "save").glob("it*-test-sheet.png")]
    return max(found, key=_step, default=None)


def _step(grid: Path) -> int:
    found = re.match(r"it(\d{1,18})-", grid.name)
    return int(found.group(1)) if found else -1


def versions(*further: str) -> dict[str, str]:
    """Versions of Python, of this package and of the libraries that results depend on.

    Args:
        further: names of further packages. Packages that are not installed are left out.
    """
    found = {name: package_version(name) for name in (*VERSIONS_OF, *further)}
    return {"Python": platform.python_version(), **{name: version for name, version in found.items() if version}}


def package_version(package: str) -> str | None:
    """Version of an installed package; None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
