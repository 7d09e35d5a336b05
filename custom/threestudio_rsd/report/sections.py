"""Sections of a report with charts: diversity against quality, and logged values over the steps."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from markupsafe import Markup

from ..metrics.names import MetricInfo, network_title
from ..reproduce.definitions import ROLES
from ..runs.grid import format_value
from ..runs.trial import DIVERSITY, Curve
from .charts import COLORS, Line, Point, draw_lines, draw_points, draw_sample, format_estimate
from .study import SettingResult, Study

ROLE_MARKS = dict(zip(ROLES, ("circle", "diamond", "square", "triangle"), strict=True))
ROLE_NAMES = {"method": "", "bound": "bound", "independent": "independent runs", "rival": "rival"}
SPREAD = ("recall", "coverage", "colors", "modes", "entropy")  # of the other sections, but no quality
LOGGED = (DIVERSITY, "loss", "residual")  # beginnings of the names of logged values that are drawn
CROWDED = COLORS  # settings that are shown at once; the others on request
TABLE_STEPS = 20  # rows of a table of logged values


class Cell(NamedTuple):
    """Cell of a table: a text, and a smaller one below it."""

    text: str
    below: str = ""


@dataclass
class Table:
    """A table with a heading for each row.

    Attributes:
        name: name for screen readers.
        headings: headings of the columns.
        rows: cells; the first of each row is its heading.
        kind: CSS class.
    """

    name: str
    headings: list[str]
    rows: list[list[Cell]]
    kind: str = ""

    def add_column(self, heading: str, cells: Sequence[Cell]) -> None:
        """Add a column on the right."""
        self.headings.append(heading)
        for row, cell in zip(self.rows, cells, strict=True):
            row.append(cell)


@dataclass(frozen=True)
class Chart:
    """A chart, and its numbers as a table."""

    svg: Markup
    table: Table


@dataclass(frozen=True)
class LegendEntry:
    """A switch that shows or hides a series.

    Attributes:
        series: index of the series.
        sample: its line and mark.
        text: its name.
        is_later: whether it is hidden at first.
    """

    series: int
    sample: Markup
    text: str
    is_later: bool = False


@dataclass
class TradeOffs:
    """Diversity against quality.

    Attributes:
        about: what the charts show.
        same: metrics that are the same for all settings.
        legend: switches of the series.
        sections: charts by heading, one section for each feature network.
        is_large: whether the charts need room.
        equally_diverse: differences of curves at equal diversity.
    """

    about: str
    same: str = ""
    legend: list[LegendEntry] = field(default_factory=list)
    sections: dict[str, list[Chart]] = field(default_factory=dict)
    is_large: bool = False
    equally_diverse: Table | None = None


@dataclass
class LoggedCurves:
    """Logged values over the steps.

    Attributes:
        about: what the curves show.
        legend: switches of the settings.
        charts: a chart for each value.
        is_large: whether the charts need room.
    """

    about: str
    legend: list[LegendEntry]
    charts: list[Chart]
    is_large: bool


def make_trade_offs(study: Study) -> TradeOffs:
    """Charts of the diversity in each feature network against every quality."""
    result = TradeOffs(
        "Every point is a mean with its 95 % interval in both directions, where there are several results."
    )
    result.is_large = len(study.settings) > CROWDED
    if study.curves:
        result.about += " Beside the points of a curve stands what varies along it, such as gamma."
    series, equal = _series(study.settings), {}
    for network in study.networks:
        x_key, charts = f"{DIVERSITY}{network}", []
        for key, metric in study.metrics.items():
            measured = [
                setting for setting in study.settings if _is_finite(setting, x_key) and _is_finite(setting, key)
            ]
            if not _is_quality(key, metric) or len(measured) < 2:
                continue
            if len({setting.figures[key].mean for setting in measured}) == 1:
                equal[key] = f"{metric.title} {format_estimate(measured[0].figures[key], metric.digits)}"
                continue
            charts.append(_trade_off(measured, series, (x_key, study.metrics[x_key]), (key, metric)))
        if charts:
            part = "which guided the repulsion" if network == study.guide else "which took no part in the repulsion"
            result.sections[f"Diversity in {network_title(network)}, {part}"] = charts
    result.same = f"The same for all settings: {', '.join(equal.values())}." if equal else ""
    result.legend = _trade_off_legend(study.settings, series)
    result.equally_diverse = _equally_diverse(study)
    return result


def make_curves(study: Study) -> LoggedCurves:
    """Charts of every logged diversity and loss over the steps, with a line for each setting.

    A setting that logged no diversity but was measured at its end, such as plain sampling, has a level line.
    """
    order = _spread_first(len(study.settings))
    is_crowded = len(study.settings) > CROWDED
    cases = [case for setting in study.settings for case in setting.cases]
    logged = sorted({name for case in cases for log in case.logs for name in log})
    charts, drawn = [], set()
    for name in [name for beginning in LOGGED for name in logged if name.startswith(beginning)]:
        lines = _lines(study, name, order, is_crowded)
        if lines:
            title = f"diversity, {network_title(name.removeprefix(DIVERSITY))}" if name.startswith(DIVERSITY) else name
            svg = draw_lines(lines, title.replace("_", " "), not name.startswith(DIVERSITY))
            charts.append(Chart(svg, _steps_table(lines, title)))
            drawn |= {line.series for line in lines}
    legend = [
        LegendEntry(series, draw_sample(series, 30), study.settings[index].label, series >= CROWDED)
        for index, series in enumerate(order)
        if series in drawn
    ]
    about = ""
    if any(len([log for case in setting.cases for log in case.logs]) > 1 for setting in study.settings):
        about = "Means over the runs." if is_crowded else "Means over the runs; the bands hold all of them."
    return LoggedCurves(about, legend, charts, is_crowded)


def _is_quality(key: str, metric: MetricInfo) -> bool:
    return metric.section not in ("diversity", "cost") and not key.startswith(SPREAD)


def _is_finite(setting: SettingResult, key: str) -> bool:
    return key in setting.figures and math.isfinite(setting.figures[key].mean)


def _series(settings: Sequence[SettingResult]) -> dict[str, int]:
    """Index of the series of every setting by label: one for each curve, one for each other setting."""
    names = list(dict.fromkeys(setting.curve or f" {setting.label}" for setting in settings))
    return {setting.label: names.index(setting.curve or f" {setting.label}") for setting in settings}


def _trade_off(
    settings: Sequence[SettingResult], series: Mapping[str, int], x: tuple[str, MetricInfo], y: tuple[str, MetricInfo]
) -> Chart:
    """Chart of one metric against another, each with its key."""

    def place(setting: SettingResult) -> tuple[int, float]:
        return series[setting.label], math.inf if setting.position is None else setting.position

    points = [
        Point(
            setting.label,
            setting.figures[x[0]],
            setting.figures[y[0]],
            series[setting.label],
            ROLE_MARKS[setting.role],
            format_value(float(setting.position)) if setting.curve and setting.position is not None else "",
        )
        for setting in sorted(settings, key=place)
    ]
    rows = [
        [Cell(each.label), *(Cell(format_estimate(e, m.digits)) for e, m in ((each.x, x[1]), (each.y, y[1])))]
        for each in points
    ]
    table = Table(f"{y[1].title} against {x[1].title}", ["setting", x[1].title, y[1].title], rows)
    return Chart(draw_points(points, x[1], y[1]), table)


def _trade_off_legend(settings: Sequence[SettingResult], series: Mapping[str, int]) -> list[LegendEntry]:
    entries: dict[int, LegendEntry] = {}
    for setting in settings:
        index, role = series[setting.label], ROLE_NAMES[setting.role]
        name = setting.curve or setting.label
        sample = draw_sample(index, 34 if setting.curve else 0, ROLE_MARKS[setting.role])
        text = f"{name} ({role})" if role and role not in name else name
        entries.setdefault(index, LegendEntry(index, sample, text, index >= CROWDED))
    return list(entries.values())


def _equally_diverse(study: Study) -> Table | None:
    """Differences of curves where they are equally diverse; None where there are none."""
    rows = []
    for each in study.comparisons:
        if each.diversity not in study.metrics or each.quality not in study.metrics:
            continue
        diversity, quality = study.metrics[each.diversity], study.metrics[each.quality]
        low, high = (diversity.format(value) for value in each.shared)
        shared = f"{diversity.title} {low} to {high}"
        difference = format_estimate(each.difference, quality.digits)
        rows.append([Cell(text) for text in (*each.curves, shared, quality.title, difference)])
    headings = ["curve", "minus", "where both have", "quality", "difference"]
    return Table("equally diverse", headings, rows) if rows else None


def _spread_first(number: int) -> list[int]:
    """Series of each setting: those that are shown at first are spread evenly and come first, so that colors differ.

    Example:
        >>> _spread_first(3)
        [0, 1, 2]
        >>> _spread_first(9)
        [0, 1, 2, 3, 8, 4, 5, 6, 7]
    """
    shown = min(number, CROWDED)
    first = [round(index * (number - 1) / max(shown - 1, 1)) for index in range(shown)]
    order = first + [index for index in range(number) if index not in first]
    return [order.index(index) for index in range(number)]


def _lines(study: Study, name: str, order: Sequence[int], is_crowded: bool) -> list[Line]:
    """Lines of a logged value; for a diversity level lines too."""
    lines, level = [], []
    for setting, series in zip(study.settings, order, strict=True):
        if name.startswith(DIVERSITY) and setting.role == "independent":
            continue  # single particles have no diversity
        mean, band = _mean_curve([log[name] for case in setting.cases for log in case.logs if name in log])
        if mean:
            lines.append(Line(setting.label, series, mean, [] if is_crowded else band))
        elif name.startswith(DIVERSITY) and _is_finite(setting, name):
            level.append((setting, series))
    steps = {step for line in lines for step, _ in line.mean}
    if len(steps) < 2:
        return []
    for setting, series in level:
        value = setting.figures[name].mean
        lines.append(Line(setting.label, series, [(min(steps), value), (max(steps), value)]))
    return lines


def _mean_curve(curves: Sequence[Curve]) -> tuple[Curve, list[tuple[int, float, float]]]:
    """Mean of the curves over the steps, and their range where there are several; a step counts from 1."""
    at: dict[int, list[float]] = {}
    for curve in curves:
        for step, value in curve:
            if math.isfinite(value):
                at.setdefault(step + 1, []).append(value)
    mean = [(step, sum(values) / len(values)) for step, values in sorted(at.items())]
    band = [(step, min(values), max(values)) for step, values in sorted(at.items())] if len(curves) > 1 else []
    return mean, band


def _steps_table(lines: Sequence[Line], name: str) -> Table:
    """Values of the lines at up to TABLE_STEPS steps."""
    values = [dict(line.mean) for line in lines]
    steps = sorted(set().union(*values))
    if len(steps) > TABLE_STEPS:
        steps = [steps[round(index * (len(steps) - 1) / (TABLE_STEPS - 1))] for index in range(TABLE_STEPS)]
    rows = [
        [Cell(str(step)), *(Cell(f"{each[step]:.4g}" if step in each else "-") for each in values)] for step in steps
    ]
    return Table(f"{name} over the steps", ["step", *(line.label for line in lines)], rows)
