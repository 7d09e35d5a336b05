"""Splatting of Gaussians: the projection meets the rays, near ones hide far ones, gradients equal differences."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from threestudio_rsd.standalone.models.renderers import splatting
from threestudio_rsd.standalone.models.renderers.splatting import Gaussians, covariances, draw, project, world_to_camera
from threestudio_rsd.standalone.utils.rays import look_at, orbit_positions, view_batch

SIZE = (48, 40)
FOVY = math.radians(40)
FOCAL = torch.tensor(0.5 * SIZE[0] / math.tan(FOVY / 2))


def camera(elevation: float, azimuth: float) -> dict[str, torch.Tensor]:
    angles = torch.tensor([[elevation], [azimuth]]).deg2rad()
    position = orbit_positions(angles[0], angles[1], torch.tensor([3.0]))
    c2w = look_at(position, torch.zeros(1, 3), torch.tensor([[0.0, 0.0, 1.0]]))
    return view_batch(c2w, torch.tensor([FOVY]), *SIZE)


def cloud(positions: list[list[float]], scale: float, opacities: list[float], colors: list[list[float]]) -> Gaussians:
    n = len(positions)
    rotations = torch.tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(n, 1)
    return Gaussians(
        torch.tensor(positions), torch.full((n, 3), scale), rotations, torch.tensor(opacities), torch.tensor(colors)
    )


def render(gaussians: Gaussians, views: dict[str, torch.Tensor], blur: float = 0.0) -> splatting.SplatImage:
    view = world_to_camera(views["c2w"])[0].to(gaussians.positions)
    return draw(project(gaussians, view, FOCAL.to(gaussians.positions), SIZE, 0.1, blur), SIZE)


@settings(deadline=None, max_examples=20)
@given(st.floats(-60, 60), st.floats(0, 360), st.tuples(*[st.floats(-0.5, 0.5)] * 3))
def test_a_small_gaussian_is_seen_on_the_ray_through_it(elevation: float, azimuth: float, place: tuple) -> None:
    views = camera(elevation, azimuth)
    image = render(cloud([list(place)], 0.02, [0.9], [[1.0, 1.0, 1.0]]), views)
    brightest = image.opacity.flatten().argmax()
    origin, direction = views["rays_o"].reshape(-1, 3)[brightest], views["rays_d"].reshape(-1, 3)[brightest]
    offset = torch.tensor(place) - origin
    distance = (offset - (offset @ direction) * direction).norm()
    pixel = offset.norm() / FOCAL  # width of a pixel at the Gaussian
    assert distance <= 0.75 * pixel  # half the diagonal


def test_opacity_falls_off_as_the_projected_gaussian() -> None:
    """On the axis a Gaussian of deviation s at depth d has the deviation s f / d on the screen."""
    image = render(cloud([[0.0, 0.0, 0.0]], 0.15, [0.7], [[0.2, 0.4, 0.6]]), camera(0.0, 0.0))
    deviation = 0.15 * FOCAL / 3.0
    ys, xs = torch.meshgrid(torch.arange(SIZE[0]) + 0.5, torch.arange(SIZE[1]) + 0.5, indexing="ij")
    squared = (ys - SIZE[0] / 2) ** 2 + (xs - SIZE[1] / 2) ** 2
    expected = 0.7 * (-squared / (2 * deviation**2)).exp()
    near = squared < (2.9 * deviation) ** 2
    torch.testing.assert_close(image.opacity[..., 0][near], expected[near], atol=1e-4, rtol=1e-3)
    color = torch.tensor([0.2, 0.4, 0.6])
    torch.testing.assert_close(image.rgb[near], expected[near][:, None] * color, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(image.depth[..., 0][near], 3.0 * expected[near], atol=1e-3, rtol=1e-3)


def test_a_near_gaussian_hides_a_far_one() -> None:
    views = camera(0.0, 0.0)
    toward = views["c2w"][0, :3, 3] / 3.0
    places = [(-0.5 * toward).tolist(), (0.5 * toward).tolist()]  # far, near
    image = render(cloud(places, 0.3, [0.99, 0.8], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), views)
    red, green, _ = image.rgb[SIZE[0] // 2, SIZE[1] // 2]
    assert green == pytest.approx(0.8, abs=0.01)
    assert red == pytest.approx(0.2 * 0.99, abs=0.01)


def test_covariances_are_rotated() -> None:
    scales, rotations = torch.rand(5, 3) + 0.1, torch.randn(5, 4)
    values = torch.linalg.eigvalsh(covariances(scales, rotations))
    torch.testing.assert_close(values, (scales**2).sort(-1).values, atol=1e-5, rtol=1e-4)
    quarter = torch.tensor([[math.sqrt(0.5), 0.0, 0.0, math.sqrt(0.5)]])  # about z: x becomes y
    turned = covariances(torch.tensor([[1.0, 2.0, 3.0]]), quarter)
    torch.testing.assert_close(turned[0], torch.diag(torch.tensor([4.0, 1.0, 9.0])), atol=1e-5, rtol=1e-5)


def test_tiles_differ_from_the_whole_image_only_beyond_three_deviations(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    gaussians = random_cloud(torch.float32)
    tiles = render(gaussians, camera(20.0, 30.0))
    monkeypatch.setattr(splatting, "TILE", max(SIZE))
    whole = render(gaussians, camera(20.0, 30.0))
    assert (tiles.rgb - whole.rgb).abs().max() < 10 * 0.9 * math.exp(-4.5)


@pytest.mark.slow
def test_gradients_are_those_of_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(splatting, "EXTENT", 20.0)  # no edge within the differences
    gaussians = random_cloud(torch.float64)
    views = camera(10.0, 40.0)

    def outputs(*parts: torch.Tensor) -> torch.Tensor:
        image = render(Gaussians(*parts), views, blur=0.3)
        return torch.cat([image.rgb, image.opacity], -1)[::9, ::9]

    inputs = [each.requires_grad_() for each in gaussians]
    assert torch.autograd.gradcheck(outputs, inputs, atol=1e-5)


def test_nothing_behind_the_camera_is_drawn() -> None:
    behind = (2.0 * camera(0.0, 0.0)["c2w"][0, :3, 3]).tolist()
    image = render(cloud([behind], 0.3, [0.9], [[1.0, 1.0, 1.0]]), camera(0.0, 0.0))
    assert image.opacity.max() == 0


def random_cloud(dtype: torch.dtype) -> Gaussians:
    n = 6
    return Gaussians(
        0.4 * torch.randn(n, 3, dtype=dtype),
        0.05 + 0.2 * torch.rand(n, 3, dtype=dtype),
        torch.randn(n, 4, dtype=dtype),
        0.1 + 0.8 * torch.rand(n, dtype=dtype),
        torch.rand(n, 3, dtype=dtype),
    )
