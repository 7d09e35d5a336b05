"""`gaussian-rasterizer`: images with their background, and what it refuses."""

import math

import pytest
import torch
from threestudio_rsd.errors import UserError
from threestudio_rsd.host import find
from threestudio_rsd.standalone.utils.rays import look_at, orbit_positions, view_batch

BACK = [0.9, 0.5, 0.1]


def parts() -> dict:
    torch.manual_seed(0)
    return {
        "geometry": find("gaussian-splats")({"n_points": 30, "max_points": 40, "init_opacity": 0.8}),
        "material": None,
        "background": find("solid-color-background")({"color": BACK}),
    }


def views(n: int) -> dict[str, torch.Tensor]:
    azimuth = torch.arange(n) * 2 * math.pi / n
    positions = orbit_positions(torch.zeros(n), azimuth, torch.full((n,), 3.0))
    c2w = look_at(positions, torch.zeros(n, 3), torch.tensor([[0.0, 0.0, 1.0]]).expand(n, 3))
    return view_batch(c2w, torch.full((n,), math.radians(40)), 32, 24)


def test_images_are_gaussians_over_a_background() -> None:
    renderer = find("gaussian-rasterizer")({}, **parts())
    out = renderer(**views(2))
    assert out["comp_rgb"].shape == (2, 32, 24, 3)
    assert out["opacity"].min() >= 0
    assert out["opacity"].max() <= 1
    behind = torch.tensor(BACK) * (1 - out["opacity"])
    torch.testing.assert_close(out["comp_rgb"], out["comp_rgb_fg"] + behind)
    torch.testing.assert_close(out["comp_rgb"][:, 0, 0], torch.tensor([BACK, BACK]))  # corners are empty
    solid = out["opacity"] > 0.9
    depth = out["depth"][solid] / out["opacity"][solid]
    assert (depth - 3.0).abs().max() < 0.8  # the ball has the radius 0.5
    given = renderer(**views(2), bg_color=torch.zeros(2, 3))
    torch.testing.assert_close(given["comp_rgb"], out["comp_rgb_fg"])


def test_all_parameters_get_gradients() -> None:
    given = parts()
    with torch.no_grad():  # at the start they are balls, which no rotation changes
        given["geometry"].log_scales += 0.3 * torch.randn(40, 3)
    renderer = find("gaussian-rasterizer")({}, **given)
    weights = torch.rand(1, 32, 24, 3)
    (renderer(**views(1))["comp_rgb"] * weights).sum().backward()
    geometry = given["geometry"]
    for name, parameter in geometry.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad[geometry.in_use].abs().sum() > 0, name
        assert parameter.grad[~geometry.in_use].abs().sum() == 0, name
    torch.testing.assert_close(geometry.gradient_sums, geometry.positions.grad.norm(dim=-1))


def test_other_geometries_are_refused() -> None:
    with pytest.raises(UserError, match="cannot render a Linear"):
        find("gaussian-rasterizer")({}, **{**parts(), "geometry": torch.nn.Linear(1, 1)})
