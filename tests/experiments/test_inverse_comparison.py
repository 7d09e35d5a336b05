import json

import pytest
import torch
from threestudio_rsd.cli import main
from threestudio_rsd.experiments import inverse_comparison
from threestudio_rsd.experiments.intervals import bootstrap_interval


def test_interval_holds_the_true_mean_about_as_often_as_it_says() -> None:
    generator = torch.Generator().manual_seed(0)
    held = 0
    for _ in range(200):
        low, high = bootstrap_interval(torch.randn(40, generator=generator) + 3, resamples=300)
        held += low <= 3 <= high
    assert 0.88 < held / 200 < 0.99


def test_interval_of_equal_values_is_a_point() -> None:
    assert bootstrap_interval(torch.full((5,), 2.0)) == (2.0, 2.0)


def test_a_table_is_made_and_its_finished_rows_are_kept(tmp_path, monkeypatch, capsys) -> None:
    pytest.importorskip("deepinv")
    table = inverse_comparison.COMPARISONS["table1"]
    monkeypatch.setattr(table, "rows", table.rows[1:3])
    monkeypatch.setattr(inverse_comparison, "REFERENCES", 20)
    command = ["reproduce", "table1", "--images", "2", "--steps", "2", "--output", str(tmp_path)]
    assert main(command) == 0
    record = json.loads((tmp_path / "table1" / "table.json").read_text())
    assert list(record["rows"]) == ["latent RED-diff", "RSD, gamma 0, D.2"]
    assert all(len(row["values"]["psnr"]) == 2 for row in record["rows"].values())
    assert (tmp_path / "table1" / "latent-red-diff.png").is_file()
    assert "22.13" in capsys.readouterr().out  # the paper's number stands beside ours
    monkeypatch.setattr(inverse_comparison, "_restore", None)  # nothing is left to be run
    assert main(command) == 0
    assert json.loads((tmp_path / "table1" / "table.json").read_text()) == record


def test_results_made_otherwise_are_not_mixed(tmp_path, monkeypatch, capsys) -> None:
    pytest.importorskip("deepinv")
    table = inverse_comparison.COMPARISONS["table1"]
    monkeypatch.setattr(table, "rows", table.rows[1:2])
    monkeypatch.setattr(inverse_comparison, "REFERENCES", 20)
    command = ["reproduce", "table1", "--images", "1", "--output", str(tmp_path)]
    assert main([*command, "--steps", "1"]) == 0
    assert main([*command, "--steps", "2"]) == 2
    assert "other settings" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["table99"], ["table1", "--images", "0"]])
def test_impossible_arguments_are_named(arguments, capsys) -> None:
    assert main(["reproduce", *arguments]) == 2
    assert arguments[-1] in capsys.readouterr().err
