"""Means over the seeds and prompts of a sweep, for each of its other settings."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..metrics.statistics import estimate
from ..text_tables import format_figure, format_table
from .grid import PROMPT_KEYS, SEED_KEY, format_value, short_names
from .trial import flatten

# By key of metrics.json: heading and format; diversity in each network comes before them.
FIGURES = {
    "colors": ("colors", ".2f"),
    "classes_correct": ("class accuracy", ".2f"),
    "consistent": ("class kept", ".2f"),
    "psnr.mean": ("PSNR", ".2f"),
    "lpips.mean": ("LPIPS", ".3f"),
    "seconds_per_step": ("seconds per step", ".2f"),
}
DIVERSITY = "diversity."


def summarize(finished: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """One row for each combination of the settings but seed and prompt, in the order of their first runs.

    Args:
        finished: settings and metrics of each finished run.

    Returns:
        rows {"settings", "runs", "figures": {key: {"mean", "interval"}}}; the interval (95 %, bootstrap over the
        runs) is None where there is one run only.
    """
    groups: dict[tuple, tuple[dict[str, Any], list[dict[str, float]]]] = {}
    for settings, metrics in finished:
        kept = {key: value for key, value in settings.items() if key != SEED_KEY and key not in PROMPT_KEYS}
        name = tuple((key, format_value(value)) for key, value in kept.items())
        groups.setdefault(name, (kept, []))[1].append(_figures(metrics))
    rows = []
    for kept, runs in groups.values():
        figures = {}
        for key in dict.fromkeys(key for run in runs for key in run):
            figures[key] = estimate([run[key] for run in runs if key in run]).record()
        rows.append({"settings": kept, "runs": len(runs), "figures": figures})
    return rows


def format_summary(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows for a terminal; settings that all of them share are left out."""
    keys = list(dict.fromkeys(key for row in rows for key in row["settings"]))
    varied = [key for key in keys if len({format_value(row["settings"].get(key)) for row in rows}) > 1]
    names = short_names(varied)
    measured = list(dict.fromkeys(key for row in rows for key in row["figures"]))
    shown = [*(key for key in measured if key.startswith(DIVERSITY)), *(key for key in FIGURES if key in measured)]
    cells = []
    for row in rows:
        label = ", ".join(f"{names[key]} = {format_value(row['settings'].get(key))}" for key in varied)
        cells.append(
            [label or "all", str(row["runs"]), *(format_figure(row["figures"].get(key), _form(key)) for key in shown)]
        )
    return format_table(["settings", "runs", *(_heading(key) for key in shown)], cells)


def _figures(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Figures of metrics.json by dotted key; those of an inverse problem are under `mean`."""
    values = flatten({**metrics, **metrics.get("mean", {})})
    return {
        key: float(value)
        for key, value in values.items()
        if isinstance(value, int | float) and (key in FIGURES or key.startswith(DIVERSITY))
    }


def _heading(key: str) -> str:
    return FIGURES[key][0] if key in FIGURES else f"diversity, {key.removeprefix(DIVERSITY)}"


def _form(key: str) -> str:
    return FIGURES[key][1] if key in FIGURES else ".3f"
