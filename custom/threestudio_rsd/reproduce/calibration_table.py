"""Table of the calibration for the terminal."""

from collections.abc import Mapping
from typing import Any

from ..metrics.names import metric_info
from ..metrics.statistics import estimate
from ..text_tables import format_figure, format_table

KEYS = ("psnr", "psnr_of_mean", "diversity_dino", "diversity_clip")


def format_calibration(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Tables of all problems.

    Args:
        results: metrics by problem and row, see `CalibrationInstruments.measure`.
    """
    parts = []
    for problem, rows in results.items():
        titles = [metric_info(key).title for key in KEYS]
        headings = [problem, *titles, "values found / possible", "impossible", "90 % interval covers"]
        parts.append(format_table(headings, [_cells(label, found) for label, found in rows.items()]))
    notes = (
        "In brackets: 95 % bootstrap intervals. Values: different colors, views and backgrounds that the judge sees in "
        "the first answers, over those that as many draws from the true posterior show. Impossible: answers with a "
        "value that no scene in agreement with the measurement has."
    )
    return "\n\n".join([*parts, notes])


def _cells(label: str, found: Mapping[str, Any]) -> list[str]:
    values = found["values"]
    cells = [label]
    cells += [format_figure(estimate(values[key]).record(), f".{metric_info(key).digits}f") for key in KEYS]
    cells.append(f"{sum(values['found_values']) / sum(values['expected_values']):.0%}")
    cells.append(f"{sum(values['impossible']) / len(values['impossible']):.0%}")
    cells.append(f"{found['interval_coverage']:.0%}")
    return cells
