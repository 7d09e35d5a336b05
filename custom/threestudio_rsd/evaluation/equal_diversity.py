"""Which of two ways to diversity keeps more quality: two curves of arms compared where they are equally diverse."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

POINTS = 21  # of the shared range of diversity
RESAMPLES = 1000


def compare_curves(
    record: Mapping[str, Any], first: str, second: str, diversity: str, quality: str, seed: int = 0
) -> dict[str, Any] | None:
    """Quality of the first curve minus that of the second, at equal diversity.

    Both curves are interpolated linearly between their arms; the difference is the mean over the range of diversity
    that they share. The interval (95 %) is a bootstrap over prompts, and in them seeds: the same ones for all arms,
    since the arms were run on the same. A quality that is measured on all images of an arm together has none.

    Args:
        record: content of reproduction.json.
        first: name of a curve.
        second: name of another one.
        diversity: metric on the horizontal axis.
        quality: metric on the vertical axis.
        seed: of the bootstrap.

    Returns:
        {"range", "difference", "interval"}; None where the curves share no diversity, or a metric is missing.
    """
    arms = [[arm for arm in record["arms"] if arm["curve"] == curve] for curve in (first, second)]
    if all(
        quality in arm["figures"] and quality not in run["values"]
        for arm in [*arms[0], *arms[1]]
        for run in arm["runs"]
    ):
        points = [
            np.array([[arm["figures"][key]["mean"] for key in (diversity, quality)] for arm in curve]) for curve in arms
        ]
        found = _difference(*points) if min(map(len, arms)) > 1 else None
        return None if found is None else {"range": found[0], "difference": found[1], "interval": None}
    values = _values([*arms[0], *arms[1]], diversity, quality)
    if values is None or min(map(len, arms)) < 2:
        return None
    split = len(arms[0])
    means = values.mean((2, 3))
    found = _difference(means[:split], means[split:])
    if found is None:
        return None
    generator = np.random.default_rng(seed)
    drawn = []
    _, _, prompts, seeds = values.shape
    for _ in range(RESAMPLES):
        rows: np.ndarray = generator.integers(prompts, size=(prompts, 1))
        columns: np.ndarray = generator.integers(seeds, size=(prompts, seeds))
        means = values[:, :, rows, columns].mean((2, 3))
        again = _difference(means[:split], means[split:])
        if again is not None:
            drawn.append(again[1])
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {"range": found[0], "difference": found[1], "interval": [float(low), float(high)]}


def _values(arms: Sequence[Mapping[str, Any]], diversity: str, quality: str) -> np.ndarray | None:
    """(arms, 2, prompts, seeds): diversity and quality of what all arms have; None where that is nothing."""
    tables = [{(run["prompt"], run["seed"]): run["values"] for run in arm["runs"]} for arm in arms]
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
    """Range of diversity that two curves (arms, 2) share, and the mean difference of quality in it."""
    low = max(first[:, 0].min(), second[:, 0].min())
    high = min(first[:, 0].max(), second[:, 0].max())
    if low >= high:
        return None
    points = np.linspace(low, high, POINTS)
    levels = [np.interp(points, *curve[curve[:, 0].argsort()].T) for curve in (first, second)]
    return [float(low), float(high)], float((levels[0] - levels[1]).mean())
