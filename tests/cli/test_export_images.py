"""`rsd export-images`."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from threestudio_rsd.cli.main import main
from threestudio_rsd.images import save_image


@pytest.fixture
def trial(tmp_path: Path) -> Path:
    """Trial folder with three images on white, of which the first two are alike, and one without background."""
    for index, place in enumerate((4, 5, 18)):
        image = torch.ones(3, 32, 32)
        image[:, place : place + 8, place : place + 8] = 0.2
        save_image(image, tmp_path / "run/save/test" / f"particle_{index:02d}.png")
    save_image(torch.rand(3, 32, 32), tmp_path / "run/save/test/particle_03.png")
    (tmp_path / "run/save/metrics.json").write_text('{"prompt": "a cube"}')
    return tmp_path / "run"


def test_images_are_cut_out_and_listed(trial: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["export-images", str(trial), "--output", str(tmp_path / "out"), "--size", "64"]) == 0
    record = json.loads((tmp_path / "out/images.json").read_text())
    assert record["prompt"] == "a cube"
    assert [entry["has_opacity"] for entry in record["images"]] == [True, True, True, False]
    with Image.open(tmp_path / "out/02.png") as image:
        assert (image.mode, image.size) == ("RGBA", (64, 64))
        pixels = np.asarray(image)
    assert pixels[0, 0, 3] == 0
    assert pixels[32, 32].tolist() == [51, 51, 51, 255]
    assert "1 have no even background" in capsys.readouterr().out


def test_the_most_different_images_are_chosen(trial: Path, tmp_path: Path) -> None:
    (trial / "save/test/particle_03.png").unlink()
    arguments = ["export-images", str(trial), "--output", str(tmp_path / "out"), "-n", "2", "--features", "euclidean"]
    assert main([*arguments, "--background", "keep", "--size", "32"]) == 0
    record = json.loads((tmp_path / "out/images.json").read_text())
    assert Path(record["images"][1]["source"]).name == "particle_02.png"


def test_mistakes_are_one_sentence(trial: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "empty/save").mkdir(parents=True)
    for arguments, expected in (
        ([str(tmp_path / "empty")], "holds no images of a finished run"),
        ([str(trial), "-n", "9"], "--number=9 is more than the 4 images"),
    ):
        assert main(["export-images", *arguments, "--output", str(tmp_path / "out")]) == 2
        assert expected in capsys.readouterr().err
