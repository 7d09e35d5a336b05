"""`rsd demo inverse` end to end with very few steps, and its mistakes."""

import contextlib
import io
import json
import re
import sys

import pytest
import torch
from PIL import Image
from threestudio_rsd.cli import demo
from threestudio_rsd.cli import main as cli
from threestudio_rsd.errors import UserError
from threestudio_rsd.images.reading import read_image
from threestudio_rsd.metrics import psnr

RUNS = {"gamma-0": "rsd, gamma = 0", "gamma-30": "rsd, gamma = 30", "latent-reddiff": "latent-reddiff"}
NAMES = ("car", "house", "mushroom")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Output folder and what was printed."""
    pytest.importorskip("deepinv")
    output = tmp_path_factory.mktemp("inverse") / "an <output>"
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        arguments = ["demo", "inverse", "--steps", "2", "--n", "2", "--gamma", "30", "--output", str(output)]
        assert cli.main(arguments) == 0
    return output, printed.getvalue()


def test_every_answer_is_a_file_and_a_sheet_shows_them_all(finished):
    output, _ = finished
    for run in RUNS:
        (folder,) = output.glob(f"runs/*/{run}")
        for name in NAMES:
            files = {file.name for file in (folder / name).iterdir()}
            assert files == {"particle_00.png", "particle_01.png", "mean.png", "deviation.png"}
        with Image.open(folder / "sheet.png") as sheet:  # 6 columns and 3 rows of 128 pixels, 4 apart
            assert sheet.size == (6 * 132 - 4, 3 * 132 - 4)


def test_measurement_shows_the_right_half_alone(finished):
    output, _ = finished
    (folder,) = output.glob("runs/*/problem")
    for name in NAMES:
        measurement, truth = (read_image(folder / name / f"{what}.png", 64, "x") for what in ("measurement", "truth"))
        assert (measurement[..., :32] == 0).all()
        assert (measurement[..., 32:] - truth[..., 32:]).abs().max() < 0.01
        assert truth[..., :32].std() > 0.05


def test_metrics_agree_with_the_files(finished):
    output, _ = finished
    record = json.loads((output / "metrics.json").read_text())
    assert list(record["runs"]) == list(RUNS.values())
    for run, label in RUNS.items():
        (folder,) = output.glob(f"runs/*/{run}")
        metrics = record["runs"][label]
        for name in NAMES:
            truth = read_image(folder.parent / "problem" / name / "truth.png", 64, "x")[None]
            answers = torch.stack([read_image(folder / name / f"particle_0{j}.png", 64, "x") for j in (0, 1)])
            measured = metrics["images"][name]
            assert measured["psnr"] == pytest.approx(float(psnr(answers, truth.expand(2, -1, -1, -1)).mean()), abs=0.05)
            assert measured["psnr_of_mean"] == pytest.approx(float(psnr(answers.mean(0)[None], truth)), abs=0.05)
            error = (answers - truth)[..., 32:].square().mean((1, 2, 3)).sqrt().mean()
            assert measured["residual"] == pytest.approx(float(error), abs=0.005)  # noise and rounding of files
        mean = sum(metrics["images"][name]["psnr"] for name in NAMES) / 3
        assert metrics["mean"]["psnr"] == pytest.approx(mean)
    gammas = [metrics["solver"]["gamma"] for metrics in record["runs"].values()]
    assert gammas == [0.0, 30.0, 0.0]


def test_table_has_a_row_for_each_run(finished):
    output, printed = finished
    table = printed[printed.index("PSNR of mean") :]
    for label in RUNS.values():
        assert re.search(rf"^{re.escape(label)} +\d+\.\d\d ", table, re.MULTILINE)
    assert str(output / "inverse-demo.html") in table


def test_page_needs_nothing_from_outside(finished):
    output, _ = finished
    text = (output / "inverse-demo.html").read_text()
    sources = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert "http:" not in text
    assert "https:" not in text
    assert "url(" not in text
    assert "<script" not in text
    # Measurement and truth once an image; two answers, mean and deviation for each of three runs.
    assert sum(source.startswith("data:image/png;base64,") for source in sources) == 3 * (2 + 3 * 4)
    assert len(re.findall(r"<img alt=\"[^\"]+\"", text)) == 3 * (2 + 3 * 4)
    assert "an &lt;output&gt;" in text
    for caption in ("an orange car, back view", "a purple house, front view", "a pink mushroom, back view"):
        assert caption in text


@pytest.mark.parametrize(
    "arguments", [["--n", "0"], ["--steps", "-1"], ["--gamma", "nan"], ["--gamma", "0"], ["--seed", "-1"]]
)
def test_impossible_arguments_are_one_sentence(arguments, tmp_path):
    with pytest.raises(UserError, match=arguments[0]):
        demo.main(["inverse", *arguments, "--output", str(tmp_path / "new")])
    assert not (tmp_path / "new").exists()


def test_missing_deepinv_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "deepinv", None)  # as if it were not installed
    assert cli.main(["demo", "inverse", "--output", str(tmp_path / "new")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("rsd: error: deepinv is not installed")
    assert error.count("\n") == 1
    assert "threestudio-rsd[inverse]" in error
    assert not (tmp_path / "new").exists()


def test_output_that_is_a_file_is_one_line(tmp_path, capsys):
    pytest.importorskip("deepinv")
    (tmp_path / "file").write_text("")
    assert cli.main(["demo", "inverse", "--output", str(tmp_path / "file")]) == 2
    assert "--output" in capsys.readouterr().err


def test_help_mentions_it(capsys):
    with pytest.raises(SystemExit):
        cli.main(["demo", "--help"])
    assert "rsd demo inverse" in capsys.readouterr().out
    assert cli.main(["--help"]) == 0
    assert "rsd demo inverse" in capsys.readouterr().out
