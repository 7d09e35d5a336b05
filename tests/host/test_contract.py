"""Both hosts keep the same promises.

The real threestudio is tested when THREESTUDIO_ROOT is a checkout: with the interpreter THREESTUDIO_PYTHON (by default
this one), after the module file THREESTUDIO_PRELUDE has been imported and its install() called, if that is set.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from threestudio_rsd import host

from . import contract

HERE = Path(__file__).parent
CUSTOM = HERE.parents[1] / "custom"
ROOT = os.environ.get("THREESTUDIO_ROOT")


@pytest.fixture(scope="session")
def real_results():
    if not ROOT:
        pytest.skip("THREESTUDIO_ROOT is not set to a checkout of threestudio")
    environment = {**os.environ, "RSD_HOST": "threestudio", "PYTHONPATH": os.pathsep.join([str(CUSTOM), ROOT])}
    process = subprocess.run(
        [os.environ.get("THREESTUDIO_PYTHON", sys.executable), str(HERE / "contract.py")],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert process.returncode == 0, process.stderr
    answer = json.loads(process.stdout.splitlines()[-1])
    assert answer["host"] == "threestudio"
    return answer["results"]


@pytest.mark.parametrize("name", contract.CHECKS)
def test_embedded_host(name):
    assert host.HOST == "embedded"
    contract.CHECKS[name](host)


@pytest.mark.parametrize("name", contract.CHECKS)
def test_threestudio(name, real_results):
    assert not real_results[name], real_results[name]
