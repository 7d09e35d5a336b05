"""Fixtures: a working folder for each test with the toy system's config, and `rsd launch` on it."""

import signal

import pytest

from . import toy_system


@pytest.fixture(autouse=True)
def _accepted_interruptions():
    """SIGINT is not ignored, as it is where a shell runs the tests in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """Working directory that contains only `toy.yaml`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy.yaml").write_text(toy_system.CONFIG)
    return tmp_path


@pytest.fixture
def rsd(workplace, capsys):
    """Function that runs `rsd launch` on the toy config: (mode, *overrides) -> (exit code, text on stderr)."""
    from threestudio_rsd.cli.main import main

    def run(mode, *overrides, config="toy.yaml"):
        code = main(["launch", "--config", str(config), f"--{mode}", *overrides])
        return code, capsys.readouterr().err

    return run
