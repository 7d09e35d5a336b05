"""Reading of image files of every size and mode."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from threestudio_rsd.errors import UserError
from threestudio_rsd.images import reading

KEY = "image_path"


def list_images(path: Path | str) -> list[Path]:
    return reading.list_images(path, KEY)


def read_image(file: Path, size: int) -> torch.Tensor:
    return reading.read_image(file, size, KEY)


def first_pixel(image: Image.Image, file: Path, **options) -> list[float]:
    image.save(file, **options)
    return [round(value, 3) for value in read_image(file, 4)[:, 0, 0].tolist()]


def test_every_mode_becomes_rgb(tmp_path: Path) -> None:
    file = tmp_path / "image.png"
    assert first_pixel(Image.new("L", (8, 8), 51), file) == [0.2] * 3
    assert first_pixel(Image.new("1", (8, 8), 1), file) == [1.0] * 3
    assert first_pixel(Image.new("RGB", (8, 8), (255, 0, 51)), file) == [1.0, 0.0, 0.2]
    assert first_pixel(Image.new("RGB", (8, 8), (255, 0, 0)).convert("P"), file)[1:] == [0.0, 0.0]
    assert first_pixel(Image.new("RGBA", (8, 8), (255, 0, 0, 0)), file) == [1.0] * 3
    assert first_pixel(Image.new("RGBA", (8, 8), (0, 0, 0, 204)), file) == [0.2] * 3
    assert first_pixel(Image.new("LA", (8, 8), (0, 0)), file) == [1.0] * 3
    assert first_pixel(Image.new("L", (8, 8), 7), file, transparency=7) == [1.0] * 3
    assert first_pixel(Image.fromarray(np.full((8, 8), 13107, np.uint16)), file) == [0.2] * 3
    assert first_pixel(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), tmp_path / "image.jpg") == [1.0] * 3


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    image = read_image(tmp_path / "turned.png", 16)
    assert (image[:, :7] > 0.9).all()
    assert (image[:, 9:] < 0.1).all()


def test_the_center_square_is_kept(tmp_path: Path) -> None:
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = 255
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    assert (read_image(tmp_path / "wide.png", 10) == 1).all()
    assert read_image(tmp_path / "wide.png", 64).shape == (3, 64, 64)


def test_pixels_do_not_change_at_the_same_size(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "same.png")
    assert torch.equal(read_image(tmp_path / "same.png", 16) * 255, torch.from_numpy(pixels).permute(2, 0, 1).float())


def test_folders_are_listed_in_order_of_names(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "c.tiff", "notes.txt", ".hidden.png"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    assert [file.name for file in list_images(str(tmp_path))] == ["a.jpg", "b.PNG", "c.tiff"]
    assert list_images(tmp_path / "b.PNG") == [tmp_path / "b.PNG"]


def test_missing_images_raise(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path, words in [("missing.png", "missing.png.*does not exist"), ("empty", "empty.*holds no image")]:
        with pytest.raises(UserError, match=words):
            list_images(tmp_path / path)
    with pytest.raises(UserError, match="image_path is empty"):
        list_images("")


def test_broken_files_raise(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_bytes(b"no image")
    Image.effect_noise((64, 64), 50).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:600])
    for name in ("text.png", "cut.png", "missing.png"):
        with pytest.raises(UserError, match=name):
            read_image(tmp_path / name, 8)
