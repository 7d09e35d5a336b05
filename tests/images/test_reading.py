"""Reading of image files of every size and mode."""

import re
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


def test_animations_and_other_endings_are_read_and_what_is_left_out_is_said(tmp_path: Path, caplog) -> None:
    frames = [Image.new("L", (8, 8), value) for value in (255, 0, 9)]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    Image.new("RGB", (8, 8), (255, 0, 0)).save(tmp_path / "photo.jfif", "JPEG")
    (tmp_path / "phone.heic").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("")
    assert [file.name for file in list_images(tmp_path)] == ["film.gif", "photo.jfif"]
    assert "phone.heic" in caplog.text
    assert "notes.txt" not in caplog.text
    assert (read_image(tmp_path / "film.gif", 4) == 1).all()
    assert "film.gif' has 3 frames; only the first is read." in caplog.text


@pytest.mark.parametrize(
    ("values", "kind", "words"),
    [
        (4095, np.uint16, "values from 0 to 4095, of 65535 .* If 12 bits are meant"),
        (1, np.uint8, "values from 0 to 1, of 255 .* If 1 bits are meant"),
    ],
)
def test_images_that_use_a_small_part_of_their_range_warn(tmp_path: Path, caplog, values, kind, words) -> None:
    pixels = np.linspace(0, values, 64).reshape(8, 8).astype(kind)
    Image.fromarray(pixels).save(tmp_path / "dark.png")
    read_image(tmp_path / "dark.png", 8)
    assert re.search(words, caplog.text)
    caplog.clear()
    read_image(tmp_path / "dark.png", 8)
    assert not caplog.text, "the warning is given once"


def test_dark_images_of_the_whole_range_do_not_warn(tmp_path: Path, caplog) -> None:
    for name, pixels in (("black", np.zeros((8, 8), np.uint16)), ("dark", np.full((8, 8), 20, np.uint8))):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        read_image(tmp_path / f"{name}.png", 8)
    assert not caplog.text


def test_names_that_are_not_utf_8_raise_before_anything_is_read(tmp_path: Path) -> None:
    file = tmp_path / "caf\udce9.png"
    Image.new("RGB", (8, 8)).save(tmp_path / "whole.png")
    (tmp_path / "whole.png").rename(file)
    for path in (tmp_path, file):
        with pytest.raises(UserError, match=r"caf.udce9.png' is not valid text; accepted: UTF-8"):
            list_images(path)


def test_the_mask_of_a_transparent_image_is_its_alpha_channel(tmp_path: Path) -> None:
    image = Image.new("RGBA", (4, 2), (200, 10, 10, 255))
    image.paste((255, 255, 255, 0), (0, 0, 2, 2))
    image.save(tmp_path / "hole.png")
    assert reading.open_mask(tmp_path / "hole.png", KEY)[0].tolist() == [[0.0, 0.0, 1.0, 1.0]] * 2
    Image.new("RGBA", (4, 2), (0, 0, 0, 255)).save(tmp_path / "opaque.png")
    assert (reading.open_mask(tmp_path / "opaque.png", KEY) == 0).all(), "brightness counts where all is opaque"
    palette = Image.new("P", (4, 2), 1)
    palette.putpixel((0, 0), 0)
    palette.save(tmp_path / "palette.png", transparency=0)
    assert reading.open_mask(tmp_path / "palette.png", KEY).sum() == 7
