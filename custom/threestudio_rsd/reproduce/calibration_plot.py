"""Plot of the calibration: rank histograms of the truth among the answers, one panel for each problem and row."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

PANEL = (2.1, 1.7)  # width and height of a panel, inches


def draw_calibration(results: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Draw the figure.

    Args:
        results: metrics by problem and row, see `CalibrationInstruments.measure`.
        path: PNG file to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = max(map(len, results.values()))
    figure = Figure(figsize=(PANEL[0] * columns, PANEL[1] * len(results)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(results), columns, squeeze=False)
    for axes, (problem, rows) in zip(panels, results.items(), strict=True):
        for axis in axes[len(rows) :]:
            axis.set_axis_off()
        for axis, (label, found) in zip(axes, rows.items(), strict=False):
            ranks = found["ranks"]
            axis.bar(range(len(ranks)), ranks, width=1.0, color="#0072b2")
            axis.axhline(1 / len(ranks), color="0.3", linewidth=0.8, linestyle="--")  # calibrated
            axis.set(ylim=(0, 0.5), yticks=[], xticks=[0, len(ranks) - 1])
            axis.set_title(f"{label}\n90 % interval: {found['interval_coverage']:.0%}", fontsize=7)
            axis.tick_params(labelsize=6)
        axes[0].set_ylabel(problem, fontsize=7)
    figure.savefig(path, dpi=130)
