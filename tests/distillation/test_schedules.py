"""Timestep schedules, and weights as functions of the timestep."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from threestudio_rsd.distillation import TimestepSchedule, force_scale, timestep_weight
from threestudio_rsd.distillation.weights import FORCE_SCALES, WEIGHTS
from threestudio_rsd.errors import UserError


@given(kind=st.sampled_from(["random", "descending", "shrinking"]), step=st.integers(0, 400), seed=st.integers(0, 9))
def test_timestep_lies_in_the_interval_and_depends_on_the_step_alone(kind: str, step: int, seed: int) -> None:
    t = TimestepSchedule(kind, 300, seed)(step, 20, 979)
    assert 20 <= t <= 979
    assert isinstance(t, int)
    assert t == TimestepSchedule(kind, 300, seed)(step, 20, 979)


def test_descending_goes_evenly_from_one_end_to_the_other() -> None:
    schedule = TimestepSchedule("descending", 97)
    ts = [schedule(step, 20, 980) for step in range(97)]
    assert ts == list(range(980, 19, -10))


def test_random_covers_the_interval_uniformly() -> None:
    schedule = TimestepSchedule("random")
    ts = torch.tensor([float(schedule(step, 0, 999)) for step in range(4000)])
    assert ts.mean().item() == pytest.approx(499.5, abs=5 * 1000 / 12**0.5 / 4000**0.5)
    assert ts.min() < 10
    assert ts.max() > 989


@pytest.mark.parametrize(("kind", "total"), [("ascending", 10), ("descending", None), ("shrinking", 0)])
def test_invalid_schedules_raise(kind: str, total: int | None) -> None:
    with pytest.raises(UserError, match="accepted"):
        TimestepSchedule(kind, total)


def test_an_empty_interval_raises() -> None:
    with pytest.raises(UserError, match="min_step_percent"):
        TimestepSchedule()(0, 500, 400)


@given(share=st.floats(0.001, 0.999))
def test_weights_match_their_definitions(share: float) -> None:
    cumprod = torch.tensor(share, dtype=torch.float64)
    alpha, sigma = cumprod.sqrt(), (1 - cumprod).sqrt()
    expected = {
        "sds": 1 - cumprod,
        "uniform": torch.ones_like(cumprod),
        "fantasia3d": cumprod.sqrt() * (1 - cumprod),
        "snr": ((1 - cumprod) / cumprod).sqrt(),
    }
    assert set(expected) == set(WEIGHTS)
    for kind, value in expected.items():
        torch.testing.assert_close(timestep_weight(kind, alpha, sigma), value)
    scales = {"sigma": sigma, "constant": torch.ones_like(sigma), "one_minus_alpha_cumprod": 1 - cumprod}
    assert set(scales) == set(FORCE_SCALES)
    for kind, value in scales.items():
        torch.testing.assert_close(force_scale(kind, alpha, sigma), value)


def test_unknown_weights_raise() -> None:
    with pytest.raises(UserError, match=r"weighting_strategy='dreamfusion'.*fantasia3d"):
        timestep_weight("dreamfusion", torch.ones(()), torch.ones(()))
