"""Calibration of solvers: counted attribute values, hidden pixels, and the command with --quick."""

import json
from pathlib import Path

import pytest
import torch
from threestudio_rsd.cli.main import main
from threestudio_rsd.inverse.operators import OperatorConfig, build_operator
from threestudio_rsd.reproduce import calibration
from threestudio_rsd.reproduce.calibration_metrics import count_values, hidden_pixels, possible_values
from threestudio_rsd.toyworld.posterior import to_tables
from threestudio_rsd.toyworld.world import choose_scenes
from torch import Tensor


def test_values_of_few_scenes_are_not_possible() -> None:
    assert possible_values(torch.tensor([1] * 99 + [2])) == {1: pytest.approx(0.99)}


def test_values_are_counted_against_independent_draws() -> None:
    scenes = {"color": torch.tensor([0] * 50 + [1] * 50), "view": torch.zeros(100, dtype=torch.long)}
    answers = {"color": torch.tensor([0, 0, 1, 5]), "view": torch.tensor([0, 0, 0, 0])}
    found, expected, impossible = count_values(answers, scenes, n_few=2)
    assert found == 2  # color 0 and view 0 among the first two answers
    assert expected == pytest.approx(2 * 0.75 + 1)
    assert impossible == 0.25


def test_hidden_pixels_are_those_of_the_mask() -> None:
    truth = torch.rand(2, 3, 8, 8)
    hidden = hidden_pixels(build_operator(OperatorConfig(), (3, 8, 8)), truth)
    assert bool(hidden[..., :4].all())
    assert not bool(hidden[..., 4:].any())
    assert bool(hidden_pixels(build_operator(OperatorConfig("decolorize"), (3, 8, 8)), truth).all())


def test_scenes_are_read_only_where_the_settings_agree(tmp_path: Path) -> None:
    scenes = [choose_scenes(5, seed) for seed in range(2)]
    made_with = json.dumps({"images": 2})
    calibration._write_scenes(scenes, tmp_path / "scenes.safetensors", made_with)
    read = calibration._read_scenes(tmp_path / "scenes.safetensors", made_with)
    for ours, theirs in zip(read, scenes, strict=True):
        assert all(map(torch.equal, to_tables(ours), to_tables(theirs)))
    assert calibration._read_scenes(tmp_path / "scenes.safetensors", json.dumps({"images": 2, "pool": 1})) == []
    assert calibration._read_scenes(tmp_path / "none.safetensors", made_with) == []


def test_a_small_render_shows_the_pixels_of_which_the_image_shows_any() -> None:
    shown = torch.zeros(3, 8, 8, dtype=torch.bool)
    shown[:, 3, 5] = True
    assert calibration._shrink(shown, 4).nonzero().tolist() == [[1, 2]]


@pytest.mark.slow
def test_quick_command_writes_table_and_plot_and_reuses_finished_rows(tmp_path: Path, monkeypatch, capsys) -> None:
    command = ["reproduce", "calibration", "--quick", "--problems", "left half hidden", "--output", str(tmp_path)]
    assert main(command) == 0
    folder = tmp_path / "calibration-quick"
    record = json.loads((folder / "calibration.json").read_text())
    rows = record["problems"]["left half hidden"]
    assert next(iter(rows)) == "true posterior"
    for row in rows.values():
        assert sum(row["ranks"]) == pytest.approx(1)
        assert 0 <= row["interval_coverage"] <= 1
    assert (folder / "calibration.png").stat().st_size > 1000
    assert "true posterior" in capsys.readouterr().out

    def fail(*args: object, **kwargs: object) -> Tensor:
        raise AssertionError("what is finished was computed again")

    monkeypatch.setattr(calibration, "solve", fail)
    monkeypatch.setattr(calibration.ScenePosterior, "sample", fail)  # nor are the scenes searched again
    assert main(command) == 0
    assert json.loads((folder / "calibration.json").read_text()) == record
