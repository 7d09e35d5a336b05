"""Renderer: the camera against an independent look-at matrix, and properties of the rendered objects."""

import math

import pytest
import torch
from threestudio_rsd.errors import UserError
from threestudio_rsd.toyworld import CLASSES, Camera, render, render_scenes, sample_scenes
from threestudio_rsd.toyworld import render as render_function
from threestudio_rsd.toyworld.render import BACKGROUND_RGB, COLOR_RGB, _camera_rays

render_module = __import__("sys").modules[render_function.__module__]


def test_rays_equal_those_of_a_look_at_matrix() -> None:
    """Reference in threestudio's convention: right = lookat x up, and the first row of the image is the top."""
    azimuth, elevation, distance, fovy, size = 37.0, 21.0, 2.5, 50.0, 5
    camera = Camera(*(torch.tensor([value]) for value in (azimuth, elevation, distance, fovy)))
    position, directions = _camera_rays(camera, size)

    a, e = math.radians(azimuth), math.radians(elevation)
    expected = distance * torch.tensor([math.cos(e) * math.cos(a), math.cos(e) * math.sin(a), math.sin(e)])
    assert torch.allclose(position[:, 0], expected, atol=1e-6)
    lookat = torch.nn.functional.normalize(-expected, dim=0)
    right = torch.nn.functional.normalize(torch.linalg.cross(lookat, torch.tensor([0.0, 0.0, 1.0])), dim=0)
    up = torch.linalg.cross(right, lookat)
    focal = 0.5 * size / math.tan(0.5 * math.radians(fovy))
    for row in range(size):
        for column in range(size):
            ray = lookat + (column + 0.5 - size / 2) / focal * right - (row + 0.5 - size / 2) / focal * up
            ray = torch.nn.functional.normalize(ray, dim=0)
            assert torch.allclose(directions[:, 0, row * size + column], ray, atol=1e-6)


def test_the_front_faces_azimuth_zero_and_the_handle_is_at_plus_y() -> None:
    front, back = render("cup", "red", camera=Camera(torch.tensor([0.0, 180.0]), 10.0))
    background = BACKGROUND_RGB[0]

    def covered(image: torch.Tensor) -> torch.Tensor:
        return ((image - background[:, None, None]).abs().sum(0) > 0.1).float()

    left, right = covered(front)[:, :32].sum(), covered(front)[:, 32:].sum()
    assert right > 1.2 * left  # seen from +x, +y is on the right
    assert covered(back)[:, :32].sum() > 1.2 * covered(back)[:, 32:].sum()


def test_images_from_straight_above_are_finite() -> None:
    image = render("house", "blue", camera=Camera(0.0, 90.0))
    assert torch.isfinite(image).all()
    blue = (image[0, 2] > 0.5) & (image[0, 0] < 0.3)
    assert blue.float().mean() > 0.1


@pytest.mark.parametrize("name", CLASSES)
def test_front_differs_from_back(name: str) -> None:
    for elevation in (0.0, 30.0, 55.0):
        front, back = render(name, "green", accent="dark", camera=Camera(torch.tensor([0.0, 180.0]), elevation))
        changed = (front - back).abs().amax(0) > 0.2
        assert changed.float().mean() > 0.01, elevation


@pytest.mark.parametrize("name", CLASSES)
def test_main_color_is_visible_from_all_cameras(name: str) -> None:
    azimuth = torch.tensor([0.0, 60.0, 120.0, 180.0, 240.0, 300.0] * 2)
    camera = Camera(azimuth, torch.tensor([-10.0] * 6 + [80.0] * 6))
    changed = (render(name, "red", camera=camera) - render(name, "blue", camera=camera)).abs().amax(1) > 0.2
    assert changed.float().mean((1, 2)).min() > 0.01  # 40 pixels; under its hat, a snowman shows 58


@pytest.mark.slow
def test_only_a_few_of_the_largest_objects_touch_the_border() -> None:
    scenes = sample_scenes(600, torch.Generator().manual_seed(3))
    images = render_scenes(scenes)
    background = BACKGROUND_RGB[scenes.background][:, :, None]
    touches = torch.zeros(len(scenes), dtype=torch.bool)
    for border in (images[..., 0, :], images[..., -1, :], images[..., :, 0], images[..., :, -1]):
        touches |= ((border - background).abs() > 0.01).flatten(1).any(1)
    assert touches.float().mean() < 0.1
    assert not touches[scenes.size < 0.85].any()


def test_rays_outside_the_bounding_sphere_hit_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = sample_scenes(24, torch.Generator().manual_seed(1))
    culled = render_scenes(scenes)
    monkeypatch.setattr(render_module, "BOUNDING_RADIUS", 100.0)
    assert torch.equal(culled, render_scenes(scenes))


def test_an_image_does_not_depend_on_its_batch() -> None:
    scenes = sample_scenes(20, torch.Generator().manual_seed(2))
    together = render_scenes(scenes)
    alone = torch.cat([render_scenes(scenes.select(slice(i, i + 1))) for i in range(20)])
    assert torch.allclose(together, alone, atol=1e-6)
    assert together.min() >= 0
    assert together.max() <= 1


def test_rendered_pixels_do_not_depend_on_the_others() -> None:
    scenes = sample_scenes(4, torch.Generator().manual_seed(3))
    shown = torch.zeros(16, 16, dtype=torch.bool)
    shown[4:12, 7:] = True
    part, whole = render_scenes(scenes, 16, shown=shown), render_scenes(scenes, 16)
    torch.testing.assert_close(part[:, :, shown], whole[:, :, shown])
    background = BACKGROUND_RGB[scenes.background][:, :, None]
    torch.testing.assert_close(part[:, :, ~shown], background.expand(-1, -1, int((~shown).sum())))


def test_names_and_indices_give_the_same_image() -> None:
    by_name = render("ice cream", "cyan", "brown", "sand")
    assert torch.equal(by_name, render(3, 4, 2, 2))
    assert torch.equal(by_name, render(torch.tensor([3]), torch.tensor([4]), 2, 2))
    assert by_name.shape == (1, 3, 64, 64)
    assert render("car", "red", resolution=32).shape == (1, 3, 32, 32)


def test_main_color_pixels_have_the_palettes_hue() -> None:
    image = render("house", "yellow", camera=Camera(90.0, 40.0), resolution=128)[0]
    yellow = COLOR_RGB[2] / COLOR_RGB[2].norm()
    pixels = image.flatten(1).T
    similar = (pixels / pixels.norm(dim=1, keepdim=True) @ yellow) > 0.999
    assert similar.float().mean() > 0.08


def test_unknown_names_and_indices_raise_user_error() -> None:
    with pytest.raises(UserError, match=r"object_class.*dragon.*mushroom"):
        render("dragon", "red")
    with pytest.raises(UserError, match="color = 8 is out of range"):
        render("car", 8)
