"""The check: runs the rows of all sections until the time is up, and writes the results after each."""

import json
import platform
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

Row = tuple[str, Callable[[], dict[str, Any]]]  # name, and what measures its values


@dataclass
class Settings:
    """Settings of a check.

    Attributes:
        output: folder of the results.
        device: device to check.
        tiny: tiny shapes and few steps, to test the check itself.
        seconds: time after which no further row starts.
        scratch: folder of the runs' own files, removed at the end.
    """

    output: Path
    device: str
    tiny: bool
    seconds: float
    started: float = field(default_factory=time.monotonic)
    scratch: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="gpu_check_")))

    @property
    def left(self) -> float:
        """Seconds left."""
        return self.seconds - (time.monotonic() - self.started)


def run(settings: Settings, names: Iterable[str] | None = None) -> int:
    """Run sections; 1 if a row failed, else 0.

    Args:
        settings: settings of the check.
        names: sections in the order to run; None: all.
    """
    from . import exactness, runs, step_costs

    sections: dict[str, Callable[[Settings], Iterator[Row]]] = {
        "exactness": exactness.rows,
        "stable diffusion": step_costs.stable_diffusion_rows,
        "defaults": step_costs.default_rows,
        "scenes": runs.scene_rows,
        "inverse": step_costs.inverse_rows,
        "options": step_costs.option_rows,
        "precisions": step_costs.precision_rows,
        "deepfloyd": step_costs.deep_floyd_rows,
        "runs": runs.run_rows,
        "compilation": step_costs.compile_rows,
    }
    settings.output.mkdir(parents=True, exist_ok=True)
    record: dict[str, Any] = {"machine": machine(settings.device), "sections": {}}
    failed = False
    for name in names or sections:
        rows = record["sections"].setdefault(name, {})
        for row, measure in sections[name](settings):
            rows[row] = attempt(measure) if settings.left > 0 else {"skipped": "no time left"}
            failed |= "error" in rows[row]
            record["seconds"] = round(settings.seconds - settings.left, 1)
            write(settings.output, record)
            print(f"{record['seconds']:6.1f} s  {name}: {row}: {text(rows[row])}", flush=True)
    shutil.rmtree(settings.scratch, ignore_errors=True)
    return int(failed)


def attempt(measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Values of a row; an error becomes a value, so that the other rows still run."""
    try:
        return measure()
    except torch.cuda.OutOfMemoryError:
        return {"skipped": "out of memory"}
    except Exception as error:  # whatever fails on an unknown machine is a result
        where = traceback.extract_tb(error.__traceback__)[-1]
        return {"error": f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"[:600]}
    finally:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def machine(device: str) -> dict[str, Any]:
    """Versions, device, and precision of all sections but `exactness`."""
    packages = ("torch", "diffusers", "transformers", "peft", "pytorch-lightning", "numpy")
    record: dict[str, Any] = {"python": platform.python_version(), "device": device}
    record |= {name: installed_version(name) for name in packages} | tf32()
    if device.startswith("cuda") and torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        record |= {"gpu": properties.name, "memory_gib": round(properties.total_memory / 2**30, 1)}
        record |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    return record


def tf32() -> dict[str, bool]:
    """Whether matrix products and convolutions in single precision may use TF32."""
    return {"matmul_tf32": torch.backends.cuda.matmul.allow_tf32, "cudnn_tf32": torch.backends.cudnn.allow_tf32}


def set_tf32(allowed: dict[str, bool]) -> None:
    """Set what `tf32` returns."""
    torch.backends.cuda.matmul.allow_tf32 = allowed["matmul_tf32"]
    torch.backends.cudnn.allow_tf32 = allowed["cudnn_tf32"]


def installed_version(name: str) -> str:
    """Version of a package."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def write(folder: Path, record: dict[str, Any]) -> None:
    """Write `gpu_check.json` and `gpu_check.md`; an interruption leaves the old files or the new ones."""
    for name, content in (("gpu_check.json", json.dumps(record, indent=2)), ("gpu_check.md", markdown(record))):
        unfinished = folder / (name + ".tmp")
        unfinished.write_text(content + "\n")
        unfinished.replace(folder / name)


def markdown(record: dict[str, Any]) -> str:
    """Tables of the results, one for each section."""
    lines = ["# GPU check", "", ", ".join(f"{key} {value}" for key, value in record["machine"].items()), ""]
    for name, rows in record["sections"].items():
        keys = list(dict.fromkeys(key for values in rows.values() for key in values))
        lines += [f"## {name}", "", " | ".join(["|", *keys]) + " |", "|---" * (len(keys) + 1) + "|"]
        lines += [
            f"| {row} | " + " | ".join(cell(values.get(key)) for key in keys) + " |" for row, values in rows.items()
        ]
        lines.append("")
    return "\n".join(lines)


def text(values: dict[str, Any]) -> str:
    return ", ".join(f"{key} {cell(value)}" for key, value in values.items())


def cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "/").replace("\n", " ")
