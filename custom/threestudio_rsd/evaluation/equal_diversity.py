"""Comparison of two curves of settings at equal diversity."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

POINTS = 21  # points in the shared range of diversity
RESAMPLES = 1000  # bootstrap samples


def compare_curves(
    record: Mapping[str, Any], first: str, second: str, diversity: str, quality: str, seed: int = 0
) -> dict[str, Any] | None:
    """Quality of the first curve minus quality of the second, at equal diversity.

    Both curves are interpolated linearly between their settings; the difference is the mean over the range of diversity
    that they share. The interval (95 %) is a bootstrap over prompts, and within them over seeds; every sample draws the
    same prompts and seeds for all settings, since all were run on the same. A quality that was measured on all images
    of a setting together has no interval.

    Args:
        record: content of reproduction.json.
        first: name of a curve.
        second: name of another curve.
        diversity: metric on the horizontal axis.
        quality: metric on the vertical axis.
        seed: seed of the bootstrap.

    Returns:
        `{"range", "difference", "interval"}`; None where the curves share no range of diversity, lack a metric, or
            have a setting without a finished run.
    """
    curves = [[each for each in record["settings"] if each["curve"] == curve] for curve in (first, second)]
    if min(map(len, curves)) < 2 or not all(setting["runs"] for curve in curves for setting in curve):
        return None
    if _is_pooled(curves, quality):
        points = [
            np.array([[each["figures"][key]["mean"] for key in (diversity, quality)] for each in curve])
            for curve in curves
        ]
        found = _difference(*points)
        return None if found is None else {"range": found[0], "difference": found[1], "interval": None}
    values = _values([*curves[0], *curves[1]], diversity, quality)
    if values is None:
        return None
    split = len(curves[0])
    means = values.mean((2, 3))
    found = _difference(means[:split], means[split:])
    if found is None:
        return None
    low, high = np.quantile(_resampled_differences(values, split, seed), [0.025, 0.975])
    return {"range": found[0], "difference": found[1], "interval": [float(low), float(high)]}


def _is_pooled(curves: Sequence[Sequence[Mapping[str, Any]]], quality: str) -> bool:
    """Whether a metric was measured on all images of each setting together, not for each case."""
    return all(
        quality in setting["figures"] and quality not in run["values"]
        for curve in curves
        for setting in curve
        for run in setting["runs"]
    )


def _resampled_differences(values: np.ndarray, split: int, seed: int) -> list[float]:
    """Differences for bootstrap samples of (settings, 2, prompts, seeds); `split` settings are of the first curve."""
    generator = np.random.default_rng(seed)
    _, _, prompts, seeds = values.shape
    differences = []
    for _ in range(RESAMPLES):
        rows: np.ndarray = generator.integers(prompts, size=(prompts, 1))
        columns: np.ndarray = generator.integers(seeds, size=(prompts, seeds))
        means = values[:, :, rows, columns].mean((2, 3))
        found = _difference(means[:split], means[split:])
        if found is not None:
            differences.append(found[1])
    return differences


def _values(settings: Sequence[Mapping[str, Any]], diversity: str, quality: str) -> np.ndarray | None:
    """Diversity and quality of the cases that all settings have, (settings, 2, prompts, seeds); None without any."""
    tables = [{(run["prompt"], run["seed"]): run["values"] for run in setting["runs"]} for setting in settings]
    shared = [
        case
        for case in (tables[0] if tables else {})
        if all(case in table and {diversity, quality} <= table[case].keys() for table in tables)
    ]
    prompts = list(dict.fromkeys(prompt for prompt, _ in shared))
    seeds = [seed for seed in dict.fromkeys(seed for _, seed in shared) if all((p, seed) in shared for p in prompts)]
    if not seeds:
        return None
    return np.array(
        [[[[table[p, s][key] for s in seeds] for p in prompts] for key in (diversity, quality)] for table in tables]
    )


def _difference(first: np.ndarray, second: np.ndarray) -> tuple[list[float], float] | None:
    """Range of diversity that two curves (settings, 2) share, and the mean difference of quality in it."""
    low = max(first[:, 0].min(), second[:, 0].min())
    high = min(first[:, 0].max(), second[:, 0].max())
    if low >= high:
        return None
    points = np.linspace(low, high, POINTS)
    levels = [np.interp(points, *curve[curve[:, 0].argsort()].T) for curve in (first, second)]
    return [float(low), float(high)], float((levels[0] - levels[1]).mean())
