"""Text tables for the terminal, and numbers with intervals as text."""

from collections.abc import Mapping, Sequence
from typing import Any


def format_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a table with aligned columns, the first to the left and the others to the right.

    Args:
        headings: heading of each column.
        rows: cells of each row.

    Example:
        >>> print(format_table(["run", "dino"], [["sds", "0.31"], ["repulsive", "0.540"]]))
        run         dino
        sds         0.31
        repulsive  0.540
    """
    widths = [max(len(cell) for cell in column) for column in zip(headings, *rows, strict=True)]
    lines = []
    for cells in (headings, *rows):
        first, *others = zip(cells, widths, strict=True)
        lines.append("  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]))
    return "\n".join(lines)


def format_number(value: Any, form: str) -> str:
    """Format a number; None and NaN become a dash.

    Args:
        value: number, or None.
        form: format specification, such as `.3f`.
    """
    return "-" if value is None or value != value else format(value, form)


def format_figure(figure: Mapping[str, Any] | None, form: str) -> str:
    """Format a mean with its interval as `mean [low, high]`.

    Args:
        figure: `mean` and `interval`, which is (low, high) or None; None becomes a dash.
        form: format specification, such as `.3f`.

    Example:
        >>> format_figure({"mean": 0.5, "interval": (0.4, 0.6)}, ".2f")
        '0.50 [0.40, 0.60]'
        >>> format_figure({"mean": 0.5, "interval": None}, ".2f"), format_figure(None, ".2f")
        ('0.50', '-')
    """
    if figure is None:
        return "-"
    mean = format_number(figure["mean"], form)
    if figure["interval"] is None:
        return mean
    low, high = figure["interval"]
    return f"{mean} [{low:{form}}, {high:{form}}]"
