"""Plot of the toy problem: Fig. 9 of the paper with all settings, and the four modes below it."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .gaussian_toy import SCATTER_GAMMAS, TWO_MODES, VARIANCE, ToyRow

COLORS = {  # by order of t and kernel input
    ("random", "noisy"): "#d55e00",
    ("random", "clean"): "#e69f00",
    ("descending", "noisy"): "#0072b2",
    ("descending", "clean"): "#009e73",
}


def draw_figure(
    rows: Sequence[ToyRow], finals: Mapping[tuple[str, str], Tensor], gammas: Sequence[float], path: Path
) -> None:
    """Draw the figure.

    Args:
        rows: rows of both problems.
        finals: final particles of the two-mode problem, (len(gammas), R, N, 2) by (order, kernel input).
        gammas: repulsion weights of the two-mode problem.
        path: PNG file to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 7.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 3)
    curves = (
        (axes[0, 0], 2, "collapsed", "a) two modes: realizations that collapsed"),
        (axes[1, 0], 2, "distance", "d) two modes: distance to the nearest mode"),
        (axes[1, 1], 4, "covered", "e) four modes: share of modes covered"),
        (axes[1, 2], 4, "distance", "f) four modes: distance to the nearest mode"),
    )
    for axis, modes, value, title in curves:
        _draw_curves(axis, [row for row in rows if row.modes == modes], value)
        axis.set_title(title)
    for axis, gamma, letter in zip(axes[0, 1:], SCATTER_GAMMAS, "bc", strict=True):
        _draw_realization(axis, {key: final[list(gammas).index(gamma)][0] for key, final in finals.items()})
        axis.set_title(f"{letter}) two modes: one realization, gamma = {gamma:g}")
    axes[0, 0].legend(fontsize=8, loc="upper right")
    axes[1, 1].legend(fontsize=8, loc="lower right")
    figure.savefig(path, dpi=110)


def _draw_curves(axis: Any, rows: Sequence[ToyRow], value: str) -> None:
    for (order, kernel_input), color in COLORS.items():
        chosen = [row for row in rows if (row.method, row.order, row.kernel_input) == ("rsd", order, kernel_input)]
        label = f"{order} t, {kernel_input}" + (" (the paper)" if (order, kernel_input) == ("random", "noisy") else "")
        gammas, values = [row.gamma for row in chosen], [getattr(row, value) for row in chosen]
        axis.plot(gammas, values, "o-", color=color, ms=4, label=label)
    for row, style in zip((row for row in rows if row.method == "svgd"), ("--", ":"), strict=False):
        axis.axhline(getattr(row, value), color="0.4", linestyle=style, label=f"SVGD, {row.order} t")
    axis.set_xscale("symlog", linthresh=0.03, linscale=0.5)  # logarithmic, but with a place for 0
    furthest = 1.5 * max(row.gamma for row in rows if row.gamma is not None)
    ticks = [tick for tick in (0, 0.1, 1, 10, 100, 1000) if tick < furthest]
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()
    axis.set_xlim(-0.01, furthest)
    axis.set_xlabel("repulsion weight gamma")
    if value == "distance":
        axis.set_yscale("log")
    else:
        axis.set_ylim(-0.03, 1.03 if value == "covered" else 0.7)
        axis.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axis.grid(alpha=0.3)


def _draw_realization(axis: Any, particles: dict[tuple[str, str], Tensor]) -> None:
    modes = torch.tensor(TWO_MODES)
    for radius, alpha in ((3, 0.15), (2, 0.2), (1, 0.3)):
        for x, y in modes.tolist():
            angles = torch.linspace(0, 2 * math.pi, 60)
            deviation = radius * VARIANCE**0.5
            axis.fill(x + deviation * angles.cos(), y + deviation * angles.sin(), color="0.5", alpha=alpha, lw=0)
    for key, color in COLORS.items():
        x, y = particles[key].T.tolist()
        axis.plot(x, y, "o-", color=color, lw=0.8, ms=7, alpha=0.85, markeredgecolor="white")
    furthest = max(float(final.abs().max()) for final in particles.values())
    limit = max(1.5, 1.15 * furthest)
    axis.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    axis.grid(alpha=0.3)
