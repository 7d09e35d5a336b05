"""Noise sources: distributions, coupling, and resumption."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from threestudio_rsd.distillation.noises import NoiseSource, couple_noise, refresh_noise
from threestudio_rsd.errors import UserError
from threestudio_rsd.particles import particle_noise
from threestudio_rsd.priors.noise_levels import NoiseLevelInterval

SHAPE = (4, 8, 8)


def test_fresh_noise_is_that_of_the_step() -> None:
    assert torch.equal(NoiseSource("fresh", seed=3)(5, 2, SHAPE), particle_noise(3, "noise", 5, 2, SHAPE))


def test_fixed_noise_is_the_same_in_every_step() -> None:
    source = NoiseSource("fixed", seed=3)
    assert torch.equal(source(0, 2, SHAPE), source(9, 2, SHAPE))
    assert torch.equal(source(9, 2, SHAPE), particle_noise(3, "noise", 0, 2, SHAPE))


def test_refreshed_noise_at_rate_0_is_fixed_and_at_rate_1_fresh() -> None:
    assert torch.equal(NoiseSource("refreshed", 0.0)(6, 2, SHAPE), NoiseSource("fixed")(6, 2, SHAPE))
    assert torch.equal(NoiseSource("refreshed", 1.0)(6, 2, SHAPE), NoiseSource("fresh")(6, 2, SHAPE))


def test_refreshed_noise_stays_standard_normal_and_forgets_at_its_rate() -> None:
    source = NoiseSource("refreshed", 0.1)
    first, later = source(0, 1, (20_000,)), source(10, 1, (20_000,))
    assert float(later.std()) == pytest.approx(1.0, abs=0.02)
    assert float((first * later).mean()) == pytest.approx(0.9**5, abs=0.03)


@given(st.integers(0, 20), st.integers(0, 20), st.booleans())
def test_refreshed_noise_does_not_depend_on_which_steps_were_asked_before(
    before: int, step: int, coupled: bool
) -> None:
    source = NoiseSource("refreshed", lambda step: 1 / (1 + step), coupled, seed=1)
    source(before, 3, (2,))
    resumed = NoiseSource("refreshed", lambda step: 1 / (1 + step), coupled, seed=1)
    assert torch.equal(source(step, 3, (2,)), resumed(step, 3, (2,)))


def test_independent_noise_does_not_depend_on_the_number_of_particles() -> None:
    many, few = (NoiseSource("refreshed", 0.2)(4, n, SHAPE) for n in (5, 2))
    assert torch.equal(many[:2], few)
    assert torch.equal(NoiseSource("fixed")(0, 2, SHAPE, first=3), NoiseSource("fixed")(0, 5, SHAPE)[3:])


@pytest.mark.parametrize("kind", ["fixed", "refreshed"])
def test_one_source_serves_different_particles_in_turn(kind: str) -> None:
    source = NoiseSource(kind, 0.2 if kind == "refreshed" else 0.0)
    whole = source(3, 4, SHAPE)
    assert torch.equal(source(3, 2, SHAPE, first=2), whole[2:])
    assert torch.equal(source(3, 2, SHAPE, first=0), whole[:2])


@pytest.mark.parametrize("n_particles", [2, 3, 8])
def test_coupled_noise_has_mean_zero_unit_variance_and_negative_correlation(n_particles: int) -> None:
    noise = NoiseSource("fixed", coupled=True)(0, n_particles, (40_000,))
    torch.testing.assert_close(noise.mean(0), torch.zeros(40_000), atol=1e-5, rtol=0)
    covariance = noise @ noise.T / noise.shape[1]
    expected = torch.full((n_particles, n_particles), -1 / (n_particles - 1)).fill_diagonal_(1.0)
    torch.testing.assert_close(covariance, expected, atol=0.03, rtol=0)


def test_coupled_noise_of_one_particle_is_refused() -> None:
    with pytest.raises(UserError, match="at least 2 particles"):
        couple_noise(torch.zeros(1, 3))


@pytest.mark.parametrize("rate", [-0.1, 1.5, math.nan])
def test_a_refresh_rate_outside_the_unit_interval_is_refused(rate: float) -> None:
    with pytest.raises(UserError, match="noise_refresh_rate"):
        NoiseSource("refreshed", rate)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UserError, match="accepted: fresh, fixed, refreshed"):
        NoiseSource("stale")


def test_refreshing_is_the_formula() -> None:
    old, new = torch.randn(2, 5)
    torch.testing.assert_close(refresh_noise(old, new, 0.36), 0.8 * old + 0.6 * new)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (2.0, 1.0), (math.nan, 1.0)])
def test_an_impossible_interval_is_refused(low: float, high: float) -> None:
    with pytest.raises(UserError, match="0 <= low <= high"):
        NoiseLevelInterval(low, high)


def test_an_interval_contains_its_upper_bound_only() -> None:
    interval = NoiseLevelInterval(0.5, 2.0)
    assert [interval.contains(level) for level in (0.5, 0.6, 2.0, 2.1)] == [False, True, True, False]
    assert NoiseLevelInterval().contains(math.inf)
