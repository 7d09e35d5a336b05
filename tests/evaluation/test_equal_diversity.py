"""Curves compared at equal diversity, against lines whose difference is known."""

import numpy as np
import pytest
from threestudio_rsd.evaluation.equal_diversity import compare_curves


def setting(curve: str, diversity: float, quality: float, spread: float = 0.0, seeds=(0, 1, 2)) -> dict:
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
    """Q = 1 - d and q = 0.9 - d: 0.1 apart wherever both are, however far apart their settings lie."""
    settings = [setting("one", d, 1 - d) for d in (0.1, 0.5, 0.9)] + [setting("two", d, 0.9 - d) for d in (0.7, 0.3)]
    found = compare_curves({"settings": settings}, "one", "two", "d", "q")
    assert found is not None
    assert found["range"] == pytest.approx([0.3, 0.7])
    assert found["difference"] == pytest.approx(0.1)
    assert compare_curves({"settings": settings}, "two", "one", "d", "q")["difference"] == pytest.approx(-0.1)


def test_a_metric_of_all_images_together_has_no_interval() -> None:
    settings = [setting("one", d, 1 - d) for d in (0.1, 0.9)] + [setting("two", d, 0.9 - d) for d in (0.7, 0.3)]
    found = compare_curves({"settings": settings}, "one", "two", "d", "pooled")
    assert found["difference"] == pytest.approx(10)
    assert found["interval"] is None


def test_the_interval_holds_the_difference_and_grows_with_the_spread() -> None:
    widths = []
    for spread in (0.01, 0.1):
        settings = [setting("one", d, 1 - d, spread) for d in (0.1, 0.9)] + [
            setting("two", d, 0.9 - d, spread) for d in (0.3, 0.7)
        ]
        found = compare_curves({"settings": settings}, "one", "two", "d", "q")
        low, high = found["interval"]
        assert low < found["difference"] < high
        widths.append(high - low)
    assert widths[1] > 3 * widths[0]


def test_only_cases_of_all_settings_are_compared() -> None:
    settings = [
        setting("one", 0.1, 0.9),
        setting("one", 0.9, 0.1),
        setting("two", 0.2, 0.8, seeds=(0,)),
        setting("two", 0.8, 0.2),
    ]
    settings[0]["runs"][1]["values"]["q"] = 55.0  # seed 1, which the third setting lacks
    assert compare_curves({"settings": settings}, "one", "two", "d", "q")["difference"] == pytest.approx(0)


def test_curves_without_a_shared_range_or_metric_are_not_compared() -> None:
    settings = [setting("one", d, 1) for d in (0.1, 0.2)] + [setting("two", d, 1) for d in (0.3, 0.4)]
    assert compare_curves({"settings": settings}, "one", "two", "d", "q") is None
    assert compare_curves({"settings": settings}, "one", "none", "d", "q") is None
    assert compare_curves({"settings": settings}, "one", "two", "d", "none") is None


def test_curves_of_which_a_setting_has_no_finished_run_are_not_compared() -> None:
    settings = [setting("one", d, 1 - d) for d in (0.1, 0.9)] + [setting("two", d, 0.9 - d) for d in (0.7, 0.3)]
    settings[0] |= {"runs": [], "figures": {}}
    for quality in ("q", "pooled"):
        assert compare_curves({"settings": settings}, "one", "two", "d", quality) is None
