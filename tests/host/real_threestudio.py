"""Runs a program of the tests in threestudio, if there is a checkout.

THREESTUDIO_ROOT is the checkout, and THREESTUDIO_PYTHON the interpreter (default: the present one). THREESTUDIO_PRELUDE
is an optional Python file whose `install()` is called first, to prepare threestudio for the machine.
"""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

CUSTOM = Path(__file__).parents[2] / "custom"


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
    environment = {**os.environ, "RSD_HOST": "threestudio", "PYTHONPATH": os.pathsep.join([str(CUSTOM), root])}
    process = subprocess.run(
        [os.environ.get("THREESTUDIO_PYTHON", sys.executable), str(program), *arguments],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout
