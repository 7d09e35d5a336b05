"""A working folder of its own for each test, and the toy system's config in it."""

import pytest

from . import toy_system


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """Empty folder that is the working directory, but for `toy.yaml`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy.yaml").write_text(toy_system.CONFIG)
    return tmp_path


@pytest.fixture
def rsd(workplace, capsys):
    """Runs `rsd launch` on the toy config: (mode, overrides...) -> exit code and what was written to stderr."""
    from threestudio_rsd.cli.main import main

    def run(mode, *overrides, config="toy.yaml"):
        code = main(["launch", "--config", str(config), f"--{mode}", *overrides])
        return code, capsys.readouterr().err

    return run
