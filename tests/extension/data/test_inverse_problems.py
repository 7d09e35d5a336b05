"""Images of inverse problems: what is wrong with a folder is found before the run."""

from pathlib import Path

import pytest
from PIL import Image
from threestudio_rsd.errors import UserError
from threestudio_rsd.extension import data  # noqa: F401 registers it
from threestudio_rsd.host import find


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    return tmp_path


def build(folder: Path):
    return find("inverse-problem-datamodule")({"image_path": str(folder)})


@pytest.mark.parametrize("content", ["{", "[1]", "3", '[{"class": "car"}]', '[{"file": "a.png", "class": "ufo"}]'])
def test_a_truth_file_of_another_kind_raises(content: str, folder: Path) -> None:
    (folder / "truth.json").write_text(content)
    with pytest.raises(UserError, match=r"truth\.json' does not describe images .*; accepted: a list of objects"):
        build(folder)


def test_known_contents_are_found_by_file_name(folder: Path) -> None:
    (folder / "truth.json").write_text('[{"file": "a.png", "class": "car"}, {"file": "b.png", "class": "tree"}]')
    module = build(folder)
    module.files = module.candidates
    assert module.attributes() == [{"file": "a.png", "class": "car"}]
    (folder / "truth.json").unlink()
    assert build(folder).known == {}


def test_a_name_that_is_not_utf_8_raises(folder: Path) -> None:
    (folder / "a.png").rename(folder / "caf\udce9.png")
    with pytest.raises(UserError, match=r"A file name in data\.image_path=.*is not valid text"):
        build(folder)
