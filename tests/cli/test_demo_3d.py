"""`rsd demo 3d` end to end with small images, and its mistakes."""

import json
import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from threestudio_rsd.cli import demo
from threestudio_rsd.cli.main import main
from threestudio_rsd.files import data_path

SMALL = {"width": 16, "height": 16, "eval_width": 32, "eval_height": 32, "n_val_views": 1, "n_test_views": 3}


@pytest.fixture(params=demo.REPRESENTATIONS)
def small(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch) -> str:
    """Name of a representation, whose configs have small images."""
    folder, objects = demo.REPRESENTATIONS[request.param]
    for name in (demo.SDS, demo.FLOW):
        config = OmegaConf.load(data_path(f"{folder}/{name}"))
        config.data.update(SMALL)
        config.trainer.enable_progress_bar = False
        config.system.metrics_every = 1
        config.trainer.log_every_n_steps = 1
        OmegaConf.save(config, tmp_path / name)
    monkeypatch.setitem(demo.REPRESENTATIONS, request.param, (str(tmp_path), objects))
    return request.param


@pytest.mark.slow
def test_the_demo_ends_in_table_sheets_videos_and_page(small: str, tmp_path, capsys) -> None:
    output = tmp_path / "demo"
    options = ["--representation", small, "-n", "2", "--steps", "2", "--prompt", "a cup", "--output", str(output)]
    assert main(["demo", "3d", *options]) == 0
    said = capsys.readouterr().out
    assert all(label in said for label in ("SDS", "SDS, gamma = 20", "fixed noise (ours)"))
    assert "colors" in said
    named = [Path(word) for word in said.split() if word.endswith((".png", ".mp4", ".html"))]
    assert len(named) == 7
    assert all(file.stat().st_size > 0 for file in named)
    page = (output / "3d-demo.html").read_text()
    assert page.count("<video") == 3
    assert page.count('src="data:image/') == 3
    assert not re.search(r'(src|href)="(?!data:|#)', page), "the page needs no other file"
    metrics = [json.loads(file.read_text()) for file in output.glob("runs/*/save/metrics.json")]
    assert sorted(record["gamma"] for record in metrics) == [0, 0, 20]


@pytest.mark.parametrize("arguments", [["--n-particles", "0"], ["--gamma", "0"], ["--prompt", " "]])
def test_impossible_arguments_are_named(arguments, tmp_path, capsys) -> None:
    assert main(["demo", "3d", "--output", str(tmp_path / "demo"), *arguments]) == 2
    assert arguments[0] in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()
