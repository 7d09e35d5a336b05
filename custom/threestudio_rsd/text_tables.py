"""Figures as text."""

from collections.abc import Mapping, Sequence
from typing import Any


def format_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns for a terminal: the first to the left, the others to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(headings, *rows, strict=True)]
    lines = []
    for cells in (headings, *rows):
        first, *others = zip(cells, widths, strict=True)
        lines.append("  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]))
    return "\n".join(lines)


def format_number(value: Any, form: str) -> str:
    """A number in a format, or a dash for None and NaN."""
    return "-" if value is None or value != value else format(value, form)


def format_figure(figure: Mapping[str, Any] | None, form: str) -> str:
    """`{"mean", "interval"}` as mean [low, high]; without an interval the mean alone, and a dash for None."""
    if figure is None:
        return "-"
    mean = format_number(figure["mean"], form)
    if figure["interval"] is None:
        return mean
    low, high = figure["interval"]
    return f"{mean} [{low:{form}}, {high:{form}}]"
