"""`rsd demo inverse` end to end with very few steps, and its mistakes."""

import contextlib
import io
import json
import re
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from threestudio_rsd.cli import main as cli
from threestudio_rsd.errors import UserError
from threestudio_rsd.images.reading import read_image
from threestudio_rsd.metrics import psnr
from threestudio_rsd.runs.trial import read_values

RUNS = {"psld": "PSLD", "gamma-30": "rsd, gamma = 30", "proximal": "proximal"}
NAMES = ("car", "house", "mushroom")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Output folder and what was printed."""
    pytest.importorskip("deepinv")
    output = tmp_path_factory.mktemp("inverse") / "an <output>"
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        arguments = ["demo", "inverse", "--steps", "2", "-n", "2", "--gamma", "30", "--output", str(output)]
        assert cli.main(arguments) == 0
    return output, printed.getvalue()


def folder_of(output: Path, run: str) -> Path:
    (folder,) = output.glob(f"runs/{run}@*/save")
    return folder


@pytest.mark.slow
def test_every_answer_is_a_file_and_a_sheet_shows_them_all(finished):
    output, _ = finished
    for run in RUNS:
        folder = folder_of(output, run)
        assert {each.name for each in (folder / "test").iterdir() if each.is_dir()} == set(NAMES)
        for name in NAMES:
            files = {file.name for file in (folder / "test" / name).iterdir()}
            assert {"particle_00.png", "particle_01.png", "mean.png", "deviation.png"} <= files
        with Image.open(folder / "it2-test.png") as sheet:  # measurement, truth and 2 answers to 3 images
            assert sheet.size[0] > sheet.size[1]


@pytest.mark.slow
def test_measurement_shows_the_right_half_alone(finished):
    output, _ = finished
    for name in NAMES:
        folder = folder_of(output, "psld") / "test" / name
        measurement, truth = (read_image(folder / f"{what}.png", 64, "x") for what in ("measurement", "truth"))
        assert (measurement[..., :32] == 0).all()
        assert (measurement[..., 32:] - truth[..., 32:]).abs().max() < 0.01
        assert truth[..., :32].std() > 0.05


@pytest.mark.slow
def test_metrics_agree_with_the_files(finished):
    output, _ = finished
    solvers = []
    for run in RUNS:
        folder = folder_of(output, run)
        record = json.loads((folder / "metrics.json").read_text())
        solvers.append(record["solver"])
        measured = []
        for name in NAMES:
            truth = read_image(folder / "test" / name / "truth.png", 64, "x")[None]
            answers = torch.stack([read_image(folder / "test" / name / f"particle_0{j}.png", 64, "x") for j in (0, 1)])
            measured.append(float(psnr(answers, truth.expand(2, -1, -1, -1)).mean()))
            found = record["images"][name]
            assert found["psnr"] == pytest.approx(measured[-1], abs=0.05)
            assert found["psnr_of_mean"] == pytest.approx(float(psnr(answers.mean(0)[None], truth)), abs=0.05)
            error = answers - truth
            error[..., :32] = 0.0  # hidden, and 0 in the measurement
            residual = float(error.square().mean((1, 2, 3)).sqrt().mean())
            assert found["residual"] == pytest.approx(residual, abs=0.005)  # noise and rounding of the files
        assert record["mean"]["psnr"] == pytest.approx(sum(record["images"][name]["psnr"] for name in NAMES) / 3)
        assert read_values(record)["psnr"] == pytest.approx(sum(measured) / 3, abs=0.05)
    assert [solver["gamma"] for solver in solvers] == [0.0, 30.0, 0.0]
    assert [solver["name"] for solver in solvers] == ["psld", "rsd", "proximal"]
    assert all((solver["n_steps"], solver["n_particles"]) == (2, 2) for solver in solvers)


@pytest.mark.slow
def test_table_has_a_row_for_each_run(finished):
    output, printed = finished
    table = printed[printed.index("PSNR of mean") :]
    for label in RUNS.values():
        assert re.search(rf"^{re.escape(label)} +\d+\.\d\d\d ", table, re.MULTILINE)
    assert str(output / "inverse-demo.html") in table


@pytest.mark.slow
def test_page_needs_nothing_from_outside(finished):
    output, _ = finished
    text = (output / "inverse-demo.html").read_text()
    sources = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert "http:" not in text
    assert "https:" not in text
    assert "url(" not in text
    # For each of three images measurement and truth, and of each run its answers, their mean and deviation.
    assert sum(source.startswith("data:image/") for source in sources) == 3 * (2 + len(RUNS) * 3)
    assert "an &lt;output&gt;" in text


@pytest.mark.parametrize(
    "arguments", [["--n-particles", "0"], ["--steps", "-1"], ["--gamma", "nan"], ["--gamma", "0"], ["--seed", "-1"]]
)
def test_impossible_arguments_are_one_sentence(arguments, tmp_path):
    with pytest.raises(UserError, match=arguments[0]):
        cli.run_command(["demo", "inverse", *arguments, "--output", str(tmp_path / "new")])
    assert not (tmp_path / "new").exists()


def test_missing_deepinv_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "deepinv", None)  # as if it were not installed
    assert cli.main(["demo", "inverse", "--output", str(tmp_path / "new")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("rsd: error: deepinv is not installed")
    assert error.count("\n") == 1
    assert "pip install deepinv`, or `pip install '.[inverse]'" in error
    assert not (tmp_path / "new").exists()


def test_output_that_is_a_file_is_one_line(tmp_path, capsys):
    pytest.importorskip("deepinv")
    (tmp_path / "file").write_text("")
    assert cli.main(["demo", "inverse", "--output", str(tmp_path / "file")]) == 2
    assert "--output" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["demo", "--help"], ["--help"]])
def test_help_mentions_it(arguments, capsys):
    with pytest.raises(SystemExit):
        cli.main(arguments)
    assert "rsd demo inverse" in capsys.readouterr().out
