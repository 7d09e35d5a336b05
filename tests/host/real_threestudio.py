"""Running a program of the tests in a real threestudio, if there is one.

THREESTUDIO_ROOT is its checkout, THREESTUDIO_PYTHON the interpreter (by default this one), and THREESTUDIO_PRELUDE,
if that is set, a module file to import and whose install() to call first: what fits the machine to threestudio.
"""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

CUSTOM = Path(__file__).parents[2] / "custom"


def prelude() -> None:
    """For the program: fit the machine to threestudio."""
    module = os.environ.get("THREESTUDIO_PRELUDE")
    if module:
        sys.path.insert(0, os.path.dirname(module))
        importlib.import_module(Path(module).stem).install()


def run_in_threestudio(program: Path, *arguments: str) -> str:
    """Output of a Python file in the real threestudio; skips the test without one."""
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
    )
    assert process.returncode == 0, process.stderr
    return process.stdout
