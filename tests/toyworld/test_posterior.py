"""Scenes that agree with a measurement, against what the measurement says about each attribute."""

import pytest
import torch
from threestudio_rsd.toyworld.posterior import TOLERANCE, ScenePool, ScenePosterior
from threestudio_rsd.toyworld.world import COLORS, choose_scenes
from torch import Tensor


@pytest.fixture(scope="module")
def pool() -> ScenePool:
    return ScenePool(200, resolution=16)


def corner(renders: Tensor) -> Tensor:
    """The background alone."""
    return renders[..., :2, :2]


def right_half(renders: Tensor) -> Tensor:
    return renders[..., 8:]


def test_attributes_that_are_not_measured_keep_their_distribution(pool: ScenePool) -> None:
    truth = choose_scenes(1, 5)
    sampler = ScenePosterior(corner, pool)
    found = sampler.sample(corner(pool.render(truth))[0], 100, truth, tolerance=0.01, rounds=8).scenes
    assert len(found) == 100
    assert bool((found.background == truth.background).all())
    shares = torch.bincount(found.color, minlength=len(COLORS)) / 100
    assert 0.03 < float(shares.min()) < float(shares.max()) < 0.3
    overhead = float((torch.as_tensor(found.camera.elevation) > 60).float().mean())
    assert 0.03 < overhead < 0.3  # 0.15 in the world


def test_scenes_agree_with_the_measurement_up_to_the_tolerance(pool: ScenePool) -> None:
    truth = choose_scenes(1, 6)
    y = right_half(pool.render(truth))[0]
    found = ScenePosterior(right_half, pool).sample(y, 30, truth, tolerance=0.05, rounds=10)
    residual = (right_half(pool.render(found.scenes)) - y).square().mean((1, 2, 3)).sqrt()
    assert float(residual.max()) <= 0.05
    torch.testing.assert_close(residual, found.residual)
    assert bool((found.scenes.background == truth.background).all())
    assert len(torch.unique(found.scenes.size)) > 1


@pytest.mark.slow
def test_pixels_that_the_operator_does_not_look_at_need_no_rendering(pool: ScenePool) -> None:
    truth = choose_scenes(1, 6)
    y = right_half(pool.render(truth))[0]
    shown = torch.zeros(16, 16, dtype=torch.bool)
    shown[:, 8:] = True
    whole, part = (ScenePosterior(right_half, pool, pixels).sample(y, 10, truth, rounds=3) for pixels in (None, shown))
    torch.testing.assert_close(part.residual, whole.residual)


@pytest.mark.slow
def test_results_depend_on_the_seed_alone(pool: ScenePool) -> None:
    truth = choose_scenes(1, 7)
    sampler = ScenePosterior(corner, pool)
    y = corner(pool.render(truth))[0]
    first, again, other = (sampler.sample(y, 20, truth, seed=seed, rounds=3).scenes.size for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_population_moves_on_until_half_of_it_agrees(pool: ScenePool) -> None:
    truth = choose_scenes(1, 3)
    sampler = ScenePosterior(right_half, pool)
    found = sampler.sample(right_half(pool.render(truth))[0], 20, truth, rounds=1)
    assert len(found.scenes) >= 10
    assert (found.residual <= TOLERANCE).all()
