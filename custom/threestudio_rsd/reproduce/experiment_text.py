"""Table of an experiment's reproduction.json for a terminal."""

from collections.abc import Mapping
from typing import Any

from ..text_tables import format_figure, format_table

IN_FILE_ONLY = ("kid", "vendi_dino", "vendi_clip", "recall")  # metrics that the terminal's table leaves out


def print_experiment(record: Mapping[str, Any]) -> None:
    """Print the table and the remarks of a reproduction.json."""
    print(f"\n{format_table(*_table(record))}\n")
    print("Means over prompts and seeds; in brackets: 95 % bootstrap intervals over both.")
    for line in _comparisons(record):
        print(line)
    for each in record["left_out"]:
        print(f"Left out: {', '.join(each['metrics'])}: {each['why']}")
    if record["claim"]:
        print(f"The paper: {record['claim']}")


def _table(record: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows, one for each setting."""
    from ..metrics.names import metric_info
    from .run_tables import KEYS

    measured = {key for setting in record["settings"] for key in setting["figures"]}
    keys = [key for key in KEYS if key in measured and key not in IN_FILE_ONLY]
    rows = []
    for setting in record["settings"]:
        paper = ", ".join(f"{key} {value:g}" for key, value in setting["paper"].items())
        cells = [_cell(key, setting["figures"].get(key)) for key in keys]
        rows.append([setting["label"], str(len(setting["runs"])), *cells, paper or "-"])
    headings = ["setting", "cases", *(metric_info(key).title for key in keys), "paper"]
    if not any(setting["paper"] for setting in record["settings"]):
        headings, rows = headings[:-1], [row[:-1] for row in rows]
    return headings, rows


def _comparisons(record: Mapping[str, Any]) -> list[str]:
    """Lines about the quality of two curves at equal diversity."""
    from ..metrics.names import metric_info

    lines = []
    for each in record["comparisons"]:
        first, second = each["curves"]
        low, high = each["range"]
        figure = {"mean": each["difference"], "interval": each["interval"]}
        lines.append(
            f"At {metric_info(each['diversity']).title} from {low:.2f} to {high:.2f}: "
            f"{metric_info(each['quality']).title} of {first!r} minus {second!r}: {_cell(each['quality'], figure)}"
        )
    return lines


def _cell(key: str, figure: Mapping[str, Any] | None) -> str:
    from ..metrics.names import metric_info

    return format_figure(figure, f".{metric_info(key).digits}f")
