"""Choice of the host, and how the command finds configs and commands."""

import pytest
from threestudio_rsd import host
from threestudio_rsd.cli.main import main
from threestudio_rsd.errors import UserError
from threestudio_rsd.runs.launching import find_config


def test_embedded_without_threestudio(monkeypatch):
    monkeypatch.delenv("RSD_HOST", raising=False)
    assert host.choose_host() == "embedded"


def test_threestudio_where_it_can_be_imported(tmp_path, monkeypatch):
    monkeypatch.delenv("RSD_HOST", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "threestudio").mkdir()
    assert host.choose_host() == "embedded", "a folder alone is a clone, not the package"
    (tmp_path / "threestudio" / "__init__.py").write_text("")
    import importlib

    importlib.invalidate_caches()
    assert host.choose_host() == "threestudio"


def test_environment_overrides(monkeypatch):
    monkeypatch.setenv("RSD_HOST", "threestudio")
    assert host.choose_host() == "threestudio"
    monkeypatch.setenv("RSD_HOST", "blender")
    with pytest.raises(UserError, match="RSD_HOST='blender' is unknown; accepted: threestudio, embedded"):
        host.choose_host()


@pytest.mark.parametrize("name", ["configs/text2image/sds.yaml", "text2image/sds.yaml"])
def test_shipped_config_is_found_by_name(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config(name).endswith("configs/text2image/sds.yaml")


def test_own_config_goes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "configs" / "text2image" / "sds.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("name: mine")
    assert find_config("configs/text2image/sds.yaml") == "configs/text2image/sds.yaml"


def test_help_without_a_command(capsys):
    assert main([]) == 0
    assert "usage: rsd COMMAND" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--help"], ["-h"]])
def test_help(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 0
    assert "usage: rsd COMMAND" in capsys.readouterr().out


def test_every_shipped_config_parses():
    from threestudio_rsd.files import data_path

    paths = sorted(data_path("configs").rglob("*.yaml"))
    assert paths
    for path in paths:
        cfg = host.load_config(str(path), cli_args=["system.prompt_processor.prompt=a car", "data.image_path=car.png"])
        assert cfg.system_type
        assert cfg.trainer.max_steps > 0
