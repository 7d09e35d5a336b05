"""Messages of `UserError` and the checks that raise it."""

import math

import pytest
from threestudio_rsd.errors import UserError, first_line, in_range, one_of, positive, require


@pytest.mark.parametrize(("extra", "package"), [("lpips", r"threestudio-rsd\[lpips\]"), (None, "no_such_module")])
def test_a_missing_library_raises_with_the_package_to_install(extra: str | None, package: str) -> None:
    with pytest.raises(UserError, match=f"no_such_module.*pip install {package}"):
        require("no_such_module", extra)


def test_accepted_values_pass() -> None:
    one_of("base", "sds", ("sds", "nfsd"))
    positive("lr", 1e-9)
    for value in (0, 0.5, 1):
        in_range("share", value, 0.0, 1.0)
    in_range("n_steps", 10**9, 1)


@pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf])
def test_numbers_that_are_not_positive_raise(value: float) -> None:
    with pytest.raises(UserError, match=f"^lr={value} is impossible; accepted: a number above 0[.]$"):
        positive("lr", value)


@pytest.mark.parametrize(
    ("value", "limits", "accepted"),
    [
        (0, (1,), "an integer of at least 1"),
        (-0.1, (0.0,), "a number of at least 0"),
        (1.5, (0.0, 1.0), "a number from 0 to 1"),
        (math.nan, (0.0, 1.0), "a number from 0 to 1"),
        (math.inf, (0.0,), "a number of at least 0"),
        (0, (1, None, "null or an integer"), "null or an integer of at least 1"),
    ],
)
def test_numbers_out_of_range_raise(value: float, limits: tuple, accepted: str) -> None:
    with pytest.raises(UserError, match=f"^key={value} is impossible; accepted: {accepted}[.]$"):
        in_range("key", value, *limits)


def test_unknown_choices_raise_with_the_accepted_ones() -> None:
    with pytest.raises(UserError, match=r"^base='vsd' is unknown; accepted: sds, nfsd\.$"):
        one_of("base", "vsd", ("sds", "nfsd"))


def test_the_first_line_of_an_error_ends_without_a_period() -> None:
    assert first_line(OSError("No such file.\nSee the manual.")) == "No such file"
    assert first_line(KeyError()) == "KeyError"
