"""Runs a program of the tests in threestudio, if there is a checkout.

- THREESTUDIO_ROOT: checkout of threestudio; without it these tests are skipped.
- THREESTUDIO_PYTHON: interpreter with threestudio's requirements; by default that of venv or .venv in the checkout,
  else the present one.
- THREESTUDIO_PRELUDE: optional Python file whose `install()` is called first, to prepare threestudio for a machine
  without CUDA.
"""

import functools
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

CUSTOM = Path(__file__).parents[2] / "custom"
IMPORT = "from real_threestudio import prelude; prelude(); import threestudio"


def prelude() -> None:
    """Call `install()` of THREESTUDIO_PRELUDE; programs do so before they import threestudio."""
    module = os.environ.get("THREESTUDIO_PRELUDE")
    if module:
        sys.path.insert(0, str(Path(module).parent))
        importlib.import_module(Path(module).stem).install()


def run_in_threestudio(program: Path, *arguments: str) -> str:
    """Run a Python file in threestudio and return its output; skip the test if there is no threestudio."""
    root = os.environ.get("THREESTUDIO_ROOT")
    if not root:
        pytest.skip("THREESTUDIO_ROOT is not set to a checkout of threestudio")
    failure = _failure_of_import(root)
    if failure:
        pytest.fail(
            f"threestudio in {root} cannot be imported by {_interpreter(root)} ({failure}); set THREESTUDIO_PYTHON to "
            "an interpreter with its requirements and, on a machine without CUDA, THREESTUDIO_PRELUDE to a Python file "
            "whose install() makes it importable.",
            pytrace=False,
        )
    process = _run(root, str(program), *arguments)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def _interpreter(root: str) -> str:
    own = [Path(root, name, "bin", "python") for name in ("venv", ".venv")]
    default = next((str(python) for python in own if python.is_file()), sys.executable)
    return os.environ.get("THREESTUDIO_PYTHON", default)


@functools.cache
def _failure_of_import(root: str) -> str:
    """Last line of the error of `import threestudio`; empty if it can be imported."""
    process = _run(root, "-c", IMPORT)
    return process.stderr.strip().splitlines()[-1] if process.returncode else ""


def _run(root: str, *arguments: str) -> subprocess.CompletedProcess:
    path = os.pathsep.join([str(CUSTOM), root, str(Path(__file__).parent)])
    return subprocess.run(
        [_interpreter(root), *arguments],
        cwd=root,
        env={**os.environ, "RSD_HOST": "threestudio", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
