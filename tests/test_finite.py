"""Checks of finite numbers: the first part that fails is named, with its particle, and the device is read once."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from threestudio_rsd.errors import NonFiniteError
from threestudio_rsd.finite import StepCheck, are_finite, note, require_finite

BAD = (float("nan"), float("inf"), -float("inf"))


@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64]),
    bad=st.sampled_from(BAD),
    data=st.data(),
)
def test_one_bad_value_anywhere_is_found_and_its_particle_named(shape, dtype, bad, data) -> None:
    values = torch.zeros(shape, dtype=dtype)
    with StepCheck(3).active() as check:
        note("the render", values, t=7)
    assert check.failure() is None
    index = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    values[index] = bad
    with StepCheck(3).active() as check:
        note("the render", values, t=7, lower="some.key")
    sentence = check.failure()
    assert f"Step 3: the render of particle {index[0]} is " in sentence
    assert "at t=7" in sentence
    assert "some.key" in sentence


def test_infinities_of_both_signs_do_not_cancel() -> None:
    with StepCheck(0).active() as check:
        note("x", torch.tensor([[float("inf"), -float("inf")]]))
    assert check.failure() is not None


def test_large_finite_values_pass_in_half_precision() -> None:
    with StepCheck(0).active() as check:
        note("x", torch.full((2, 1000), 60000.0, dtype=torch.float16))
        note("p", torch.full((1000,), 60000.0, dtype=torch.float16), axes=())
    assert check.failure() is None


def test_the_first_part_is_named() -> None:
    bad = torch.tensor([0.0, float("nan")])
    with StepCheck(1).active() as check:
        note("a", torch.zeros(2))
        note("b", torch.stack([torch.zeros(2), bad]), axes=("image", "particle"))
        note("c", bad)
        note("d", bad, axes=())
    assert "Step 1: b of particle 1 of image 1 is nan" in check.failure()
    assert check.failed_particles(("image", "particle")).tolist() == [[False, False], [False, True]]
    assert check.failed_particles(("particle",)).tolist() == [False, True]
    with pytest.raises(NonFiniteError, match="b of particle 1"):
        check.stop()


def test_tensors_without_particle_are_named() -> None:
    with StepCheck(1).active() as check:
        note("d", torch.zeros(3), lower="lr", axes=())
        note("e", torch.tensor([1.0, -float("inf")]), lower="lr", axes=())
    assert check.failure() == "Step 1: e is infinite; try a lower value or another one of: lr."


def test_a_timestep_of_its_own_for_each_row() -> None:
    with StepCheck(1).active() as check:
        note("x", torch.tensor([[0.0], [float("nan")]]), t=torch.tensor([5, 9]))
    assert "t=9" in check.failure()


def test_several_checks_are_read_at_once() -> None:
    good, bad = StepCheck(0), StepCheck(0)
    assert are_finite([good, bad])
    with bad.active():
        note("x", torch.tensor([torch.nan]))
    assert not are_finite([good, bad])
    assert good.failure() is None


def test_nothing_is_noted_without_a_check() -> None:
    note("x", torch.tensor([float("nan")]))
    check = StepCheck(0)
    with check.active():
        pass
    note("x", torch.tensor([float("nan")]))
    assert check.failure() is None


@pytest.mark.parametrize("bad", BAD)
def test_results_are_refused(bad) -> None:
    require_finite("an image", torch.zeros(3))
    require_finite("labels", torch.zeros(3, dtype=torch.long))
    with pytest.raises(NonFiniteError, match="1 of 2 values of an image"):
        require_finite("an image", torch.tensor([0.0, bad]))
