"""Contract test of `threestudio_rsd.host`, with the stand-in and with threestudio (see real_threestudio.py)."""

import json
from pathlib import Path

import pytest
from threestudio_rsd import host

from . import contract
from .real_threestudio import run_in_threestudio


@pytest.fixture(scope="session")
def real_results():
    answer = json.loads(run_in_threestudio(Path(contract.__file__)).splitlines()[-1])
    assert answer["host"] == "threestudio"
    return answer["results"]


@pytest.mark.parametrize("name", contract.CHECKS)
def test_stand_in(name):
    assert host.HOST == "embedded"
    contract.CHECKS[name](host)


@pytest.mark.parametrize("name", contract.CHECKS)
def test_threestudio(name, real_results):
    assert not real_results[name], real_results[name]
