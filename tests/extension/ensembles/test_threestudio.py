"""Runs the tests of this folder in a real threestudio, if THREESTUDIO_ROOT is a checkout of it (as in tests/host).

Run as a program, this file runs them in its own process.
"""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__)
ROOT = os.environ.get("THREESTUDIO_ROOT")


@pytest.mark.skipif(not ROOT, reason="THREESTUDIO_ROOT is not set to a checkout of threestudio")
def test_ensembles_on_threestudio():
    path = os.pathsep.join([str(HERE.parents[3] / "custom"), str(ROOT)])
    process = subprocess.run(
        [os.environ.get("THREESTUDIO_PYTHON", sys.executable), str(HERE)],
        cwd=ROOT,
        env={**os.environ, "RSD_HOST": "threestudio", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr


def main() -> int:
    prelude = os.environ.get("THREESTUDIO_PRELUDE")
    if prelude:
        sys.path.insert(0, str(Path(prelude).parent))
        importlib.import_module(Path(prelude).stem).install()
    arguments = ["-q", "-p", "no:cacheprovider", "--disable-warnings", "--ignore", str(HERE), str(HERE.parent)]
    return int(pytest.main(arguments))


if __name__ == "__main__":
    sys.exit(main())
