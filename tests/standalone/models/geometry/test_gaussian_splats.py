"""A cloud of Gaussians: its start, densification by its own gradients, and what it refuses."""

import pytest
import torch
from threestudio_rsd.errors import UserError
from threestudio_rsd.standalone.models.geometry.gaussian_splats import GaussianSplats


def make(**config: object) -> GaussianSplats:
    torch.manual_seed(0)
    return GaussianSplats({"n_points": 50, "max_points": 80, "densify_interval": 10, **config})


def pull(geometry: GaussianSplats, rows: list[int]) -> None:
    """Gradients of the positions of some Gaussians."""
    weights = torch.zeros(len(geometry.positions), 3)
    weights[rows] = 1.0
    (geometry.positions * weights).sum().backward()


def test_the_start_fills_a_ball() -> None:
    gaussians = make(init_radius=0.4, init_opacity=0.3).gaussians()
    assert gaussians.positions.shape == (50, 3)
    assert gaussians.positions.norm(dim=-1).max() <= 0.4
    assert gaussians.positions.norm(dim=-1).max() > 0.35
    torch.testing.assert_close(gaussians.opacities, torch.full((50,), 0.3))
    assert ((gaussians.colors - 0.5).abs() < 0.2).all()


def test_those_with_large_gradients_are_split() -> None:
    geometry = make(densify_share=0.04)
    before = geometry.gaussians()
    pull(geometry, [3, 7])
    geometry.train().do_update_step(0, 10)
    after = geometry.gaussians()
    assert len(after.positions) == 52
    torch.testing.assert_close(after.positions[:50], before.positions)
    torch.testing.assert_close(after.scales[3], before.scales[3] / 1.6)
    torch.testing.assert_close(after.scales[4], before.scales[4])
    distances = torch.cdist(after.positions[50:], after.positions[[3, 7]])
    assert distances.min(1).values.max() < 4 * before.scales[3].norm()
    torch.testing.assert_close(after.colors[50:].sum(0), before.colors[[3, 7]].sum(0))
    geometry.do_update_step(0, 10)  # a repetition changes nothing
    assert int(geometry.in_use.sum()) == 52


def test_transparent_ones_are_removed_and_their_rows_used_again() -> None:
    geometry = make(densify_share=0.04)
    with torch.no_grad():
        geometry.opacity_logits[:10] = -10.0
    pull(geometry, [20, 21])
    geometry.train().do_update_step(0, 10)
    assert int(geometry.in_use.sum()) == 41  # 40 left, and one of 4 % of them
    assert bool(geometry.in_use[0])
    assert not geometry.in_use[1:10].any()


def test_the_number_stays_below_its_limit() -> None:
    geometry = make(n_points=79, densify_share=0.5)
    pull(geometry, list(range(80)))
    geometry.train().do_update_step(0, 10)
    assert int(geometry.in_use.sum()) == 80


@pytest.mark.parametrize("step", [0, 5, 260])
def test_other_steps_leave_the_cloud_as_it_is(step: int) -> None:
    geometry = make()
    pull(geometry, [1])
    geometry.train().do_update_step(0, step)
    assert int(geometry.in_use.sum()) == 50


def test_evaluation_leaves_the_cloud_as_it_is() -> None:
    geometry = make()
    pull(geometry, [1])
    geometry.eval().do_update_step(0, 10)
    assert int(geometry.in_use.sum()) == 50


def test_the_state_holds_the_number_of_gaussians() -> None:
    first, second = make(), make()
    pull(first, [1, 2])
    first.train().do_update_step(0, 10)
    second.load_state_dict(first.state_dict())
    for one, other in zip(first.gaussians(), second.gaussians(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"n_points": 0}, "n_points=0"),
        ({"max_points": 49}, "max_points=49"),
        ({"max_points": 10**12}, "max_points"),
        ({"init_radius": 0.0}, "init_radius"),
        ({"prune_opacity": 1.0}, "prune_opacity=1.0"),
        ({"densify_share": float("nan")}, "densify_share=nan"),
        ({"densify_interval": -1}, "densify_interval=-1"),
    ],
)
def test_impossible_values_are_named(config: dict, named: str) -> None:
    with pytest.raises(UserError, match=named):
        make(**config)


def test_uses_that_need_a_field_say_what_to_set() -> None:
    with pytest.raises(UserError, match="gaussian-rasterizer"):
        make()(torch.zeros(1, 3))
    with pytest.raises(UserError, match="gaussian-exporter"):
        make().isosurface()
