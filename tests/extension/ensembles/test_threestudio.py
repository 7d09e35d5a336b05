"""Runs the tests of this folder in a real threestudio, if THREESTUDIO_ROOT is a checkout of it (as in tests/host).

Run as a program, this file runs them in its own process.
"""

import importlib
import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__)


def test_ensembles_on_threestudio():
    sys.path.insert(0, str(HERE.parents[2] / "host"))
    import real_threestudio

    real_threestudio.run_in_threestudio(HERE)


def main() -> int:
    prelude = os.environ.get("THREESTUDIO_PRELUDE")
    if prelude:
        sys.path.insert(0, str(Path(prelude).parent))
        importlib.import_module(Path(prelude).stem).install()
    arguments = ["-q", "-p", "no:cacheprovider", "--disable-warnings", "--ignore", str(HERE), str(HERE.parent)]
    return int(pytest.main(arguments))


if __name__ == "__main__":
    sys.exit(main())
