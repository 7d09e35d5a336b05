"""Curves compared at equal diversity, against lines whose difference is known."""

import numpy as np
import pytest
from threestudio_rsd.evaluation.equal_diversity import compare_curves


def arm(curve: str, diversity: float, quality: float, spread: float = 0.0, seeds=(0, 1, 2)) -> dict:
    noise = np.random.default_rng(int(1000 * diversity))
    runs = [
        {
            "prompt": prompt,
            "seed": seed,
            "values": {"d": diversity + offset, "q": quality + spread * noise.normal()},
        }
        for prompt, offset in (("a", -0.05), ("b", 0.05))
        for seed in seeds
    ]
    figures = {"d": {"mean": diversity}, "pooled": {"mean": 100 * quality}}
    return {"curve": curve, "runs": runs, "figures": figures}


def test_difference_of_two_lines() -> None:
    """Q = 1 - d and q = 0.9 - d: 0.1 apart wherever both are, however far apart their arms lie."""
    arms = [arm("one", d, 1 - d) for d in (0.1, 0.5, 0.9)] + [arm("two", d, 0.9 - d) for d in (0.7, 0.3)]
    found = compare_curves({"arms": arms}, "one", "two", "d", "q")
    assert found is not None
    assert found["range"] == pytest.approx([0.3, 0.7])
    assert found["difference"] == pytest.approx(0.1)
    assert compare_curves({"arms": arms}, "two", "one", "d", "q")["difference"] == pytest.approx(-0.1)


def test_what_is_measured_on_all_images_has_no_interval() -> None:
    arms = [arm("one", d, 1 - d) for d in (0.1, 0.9)] + [arm("two", d, 0.9 - d) for d in (0.7, 0.3)]
    found = compare_curves({"arms": arms}, "one", "two", "d", "pooled")
    assert found["difference"] == pytest.approx(10)
    assert found["interval"] is None


def test_the_interval_holds_the_difference_and_grows_with_the_spread() -> None:
    widths = []
    for spread in (0.01, 0.1):
        arms = [arm("one", d, 1 - d, spread) for d in (0.1, 0.9)] + [arm("two", d, 0.9 - d, spread) for d in (0.3, 0.7)]
        found = compare_curves({"arms": arms}, "one", "two", "d", "q")
        low, high = found["interval"]
        assert low < found["difference"] < high
        widths.append(high - low)
    assert widths[1] > 3 * widths[0]


def test_only_what_all_arms_have_is_compared() -> None:
    arms = [arm("one", 0.1, 0.9), arm("one", 0.9, 0.1), arm("two", 0.2, 0.8, seeds=(0,)), arm("two", 0.8, 0.2)]
    arms[0]["runs"][1]["values"]["q"] = 55.0  # seed 1, which the third lacks
    assert compare_curves({"arms": arms}, "one", "two", "d", "q")["difference"] == pytest.approx(0)


def test_curves_that_never_meet_are_not_compared() -> None:
    arms = [arm("one", d, 1) for d in (0.1, 0.2)] + [arm("two", d, 1) for d in (0.3, 0.4)]
    assert compare_curves({"arms": arms}, "one", "two", "d", "q") is None
    assert compare_curves({"arms": arms}, "one", "none", "d", "q") is None
    assert compare_curves({"arms": arms}, "one", "two", "d", "none") is None
