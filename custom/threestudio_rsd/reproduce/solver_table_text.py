"""Solver tables as text for the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..metrics.names import metric_info
from ..metrics.statistics import estimate
from ..text_tables import format_figure
from .definitions import SolverRow

# Metrics with intervals.
KEYS = ("psnr", "psnr_of_mean", "ssim", "lpips", "diversity_dino", "diversity_clip", "class_accuracy", "colors")
PAPER_KEYS = ("psnr", "lpips", "frechet", "diversity")


def table_cells(rows: Sequence[SolverRow], results: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of a solver table.

    Args:
        rows: solvers in order.
        results: content of the file of each row, by label.
    """
    keys = [key for key in KEYS if key in next(iter(results.values()))["values"]]
    lines = []
    for row in rows:
        result = results[row.label]
        estimates = [(estimate(result["values"][key]).record(), f".{metric_info(key).digits}f") for key in keys]
        cells = [row.label, *(format_figure(found, form) for found, form in estimates)]
        cells += [
            metric_info("frechet").format(result["frechet"]),
            f"{1000 * result['seconds_per_step_and_image']:.0f}",
        ]
        cells.append(" / ".join(f"{row.paper[key]:g}" if key in row.paper else "-" for key in PAPER_KEYS))
        lines.append(cells)
    titles = [metric_info(key).title for key in (*keys, "frechet")]
    return ["solver", *titles, "ms/step", "paper: PSNR / LPIPS / FID / diversity"], lines


def remarks(record: Mapping[str, Any], references: int, left_out: Mapping[str, list[str]]) -> list[str]:
    """Lines below the table: the reference of the Frechet distance, and metrics that were left out.

    Args:
        record: content of table.json.
        references: renders in the reference.
        left_out: metrics that could not be measured, by reason.
    """
    lines = []
    if record["floor_frechet"] is not None:
        lines.append(
            f"Frechet distance to {references} renders; that of the true images is {record['truth_frechet']:.0f}, that "
            f"of as many other renders {record['floor_frechet']:.0f}."
        )
    elif any(row["frechet"] is not None for row in record["rows"].values()):
        lines.append("Frechet distance to the images themselves, in Inception's features.")
    return lines + [f"Left out: {', '.join(keys)}: {why}" for why, keys in left_out.items()]
