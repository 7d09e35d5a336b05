"""Charts of a report, as inline SVG: figures against figures with their intervals, and curves over the steps."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

from ..runs.trial import Curve
from .study import HIGHER, LOWER, Estimate

COLORS = 8  # --s0 to --s7 in report.css
DASHES = ("", "7 4", "2 3", "9 3 2 3")  # a second cue beside color
MARKS = ("circle", "square", "triangle", "diamond", "cross")
WIDTH, INNER_HEIGHT = 360, 210  # no wider than a phone, so that the text keeps its size there
LEFT, RIGHT, TOP, BOTTOM = 50, 22, 30, 46
LETTER = 7.0  # units a letter of a label is wide
ARROWS = {HIGHER: "more is better", LOWER: "less is better", "": ""}


@dataclass(frozen=True)
class Point:
    """A setting in a chart of one figure against another.

    Attributes:
        label: for people.
        series: number of its color and mark; points of one series are joined in their order.
        short: written beside the mark, such as gamma.
    """

    label: str
    x: Estimate
    y: Estimate
    series: int
    mark: str = MARKS[0]
    short: str = ""


@dataclass(frozen=True)
class Line:
    """Mean over runs of a logged value, and its range where there are several runs: (step, low, high)."""

    label: str
    series: int
    mean: Curve
    band: list[tuple[int, float, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Axis:
    """A range of values along one side of the chart; `log`: in powers of ten."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def place(self, value: float) -> float:
        """Where a value lies; what is outside lies on the border."""
        low, high, value = (
            math.log10(each) if self.log else each
            for each in (self.low, self.high, max(value, 1e-12) if self.log else value)
        )
        return self.start + (self.end - self.start) * min(max((value - low) / (high - low), 0.0), 1.0)

    def ticks(self) -> list[float]:
        """Round values, about four."""
        if self.log:
            powers = range(math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9) + 1)
            return [10.0**power for power in powers]
        step = _round_step((self.high - self.low) / 4)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [step * index for index in range(first, last + 1)]


def draw_points(points: Sequence[Point], x_name: str, y_name: str, x_better: str, y_better: str) -> str:
    """Inline SVG of one figure against another; error bars where there are intervals.

    Args:
        points: of one series in the order in which they are joined.
        x_name, y_name: names of the figures.
        x_better, y_better: HIGHER, LOWER or nothing.
    """
    bottom = TOP + INNER_HEIGHT
    x_axis = _axis([point.x for point in points], LEFT, WIDTH - RIGHT)
    y_axis = _axis([point.y for point in points], bottom, TOP)
    spoken = "; ".join(f"{point.label}: {format_figure(point.x)}, {format_figure(point.y)}" for point in points)
    svg = _frame(x_axis, y_axis, x_name, y_name, x_better, y_better, f"{y_name} against {x_name}. {spoken}")
    occupied: list[Box] = []
    for series in dict.fromkeys(point.series for point in points):
        members = [point for point in points if point.series == series]
        if len(members) > 1:
            places = " ".join(f"{x_axis.place(p.x.mean):.1f},{y_axis.place(p.y.mean):.1f}" for p in members)
            svg.append(f'<polyline class="curve thin" points="{places}" {of_series(series)} {stroke(series)}/>')
    for point in points:
        x, y = x_axis.place(point.x.mean), y_axis.place(point.y.mean)
        bars = ""
        if point.x.interval:
            low, high = (x_axis.place(value) for value in point.x.interval)
            bars += f"M{low:.1f},{y:.1f}H{high:.1f}"
            occupied.append((low, y - 1, high, y + 1))
        if point.y.interval:
            low, high = (y_axis.place(value) for value in point.y.interval)
            bars += f"M{x:.1f},{low:.1f}V{high:.1f}"
            occupied.append((x - 1, high, x + 1, low))
        occupied.append((x - 6, y - 6, x + 6, y + 6))
        text = f"{point.label}: {x_name} {format_figure(point.x)}, {y_name} {format_figure(point.y)}"
        drawn = f'<path class="bar" d="{bars}" {stroke(point.series, dashed=False)}/>' if bars else ""
        drawn = f"<title>{escape(text)}</title>{drawn}{mark(point.mark, x, y, point.series)}"
        svg.append(f"<g {of_series(point.series)}>{drawn}</g>")
    for point in points:
        if point.short:
            svg.append(_label(point, x_axis.place(point.x.mean), y_axis.place(point.y.mean), occupied))
    return "".join(svg) + "</svg>"


def draw_lines(lines: Sequence[Line], name: str, is_loss: bool = False) -> str:
    """Inline SVG of a logged value over the steps.

    Args:
        lines: at least one, none of them empty.
        name: of the value.
        is_loss: in powers of ten where it spans several.
    """
    bottom = TOP + INNER_HEIGHT
    values = [value for line in lines for _, value in line.mean] + [
        value for line in lines for _, low, high in line.band for value in (low, high)
    ]
    low, high = min(values), max(values)
    log = is_loss and low > 0 and high > 30 * low
    if log:
        y_axis = Axis(10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high)), bottom, TOP, log=True)
    else:
        y_axis = _axis([Estimate(value) for value in (min(low, 0.0) if not is_loss else low, high)], bottom, TOP)
    x_axis = Axis(0, max(step for line in lines for step, _ in line.mean), LEFT, WIDTH - RIGHT)
    ends = ", ".join(f"{line.label} ends at {line.mean[-1][1]:.3g}" for line in lines)
    svg = _frame(x_axis, y_axis, "step", name, "", "", f"{name} over the steps: {ends}")
    for line in lines:
        if line.band:
            there = [f"{x_axis.place(step):.1f},{y_axis.place(top):.1f}" for step, _, top in line.band]
            back = [f"{x_axis.place(step):.1f},{y_axis.place(floor):.1f}" for step, floor, _ in reversed(line.band)]
            points = " ".join(there + back)
            style = f'style="fill:{color(line.series)}"'
            svg.append(f'<polygon class="band" points="{points}" {of_series(line.series)} {style}/>')
    for line in lines:
        places = " ".join(f"{x_axis.place(step):.1f},{y_axis.place(value):.1f}" for step, value in line.mean)
        title = f"<title>{escape(line.label)}</title>"
        attributes = f"{of_series(line.series)} {stroke(line.series)}"
        svg.append(f'<polyline class="curve" points="{places}" {attributes}>{title}</polyline>')
    return "".join(svg) + "</svg>"


def format_figure(figure: Estimate) -> str:
    """Mean and interval with three digits or so."""
    form = number_form([figure.mean])
    if figure.interval is None:
        return format(figure.mean, form)
    return f"{figure.mean:{form}} [{figure.interval[0]:{form}}, {figure.interval[1]:{form}}]"


def number_form(values: Sequence[float]) -> str:
    """A format that shows about three digits of the largest of some values."""
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    return f".{3 if largest < 1.5 else 2 if largest < 30 else 1 if largest < 100 else 0}f"


def of_series(series: int) -> str:
    """Attribute by which the legend finds what it hides."""
    return f'data-series="{series}"'


def color(series: int) -> str:
    """Color of a series, as a value in CSS."""
    return f"var(--s{series % COLORS})"


def stroke(series: int, dashed: bool = True) -> str:
    """Attributes of a line of a series."""
    dashes = DASHES[(series + series // COLORS) % len(DASHES)] if dashed else ""
    return f'style="stroke:{color(series)}"' + (f' stroke-dasharray="{dashes}"' if dashes else "")


def mark(name: str, x: float, y: float, series: int) -> str:
    """A mark of MARKS around (x, y)."""
    style = f'class="mark" style="fill:{color(series)}"'
    if name == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" {style}/>'
    shapes = {
        "square": "M-4.6,-4.6H4.6V4.6H-4.6Z",
        "triangle": "M0,-6L5.6,4.4H-5.6Z",
        "diamond": "M0,-6.6L6.6,0L0,6.6L-6.6,0Z",
        "cross": "M-2,-6H2V-2H6V2H2V6H-2V2H-6V-2H-2Z",
    }
    return f'<path d="{shapes[name]}" transform="translate({x:.1f},{y:.1f})" {style}/>'


Box = tuple[float, float, float, float]  # left, top, right, bottom


def _label(point: Point, x: float, y: float, occupied: list[Box]) -> str:
    """A point's short text beside its mark, where it covers least of what is there; it then counts as there."""
    width, height = LETTER * len(point.short), 12
    candidates = []
    for right, down in ((1, -1), (1, 1), (-1, -1), (-1, 1), (0, -1), (0, 1), (1, 0), (-1, 0), (2, -2), (-2, 2)):
        left = x + 8 * right - (width if right < 0 else width / 2 if right == 0 else 0)
        top = y + (9 * down if down else 0) - (height if down < 0 else 0 if down > 0 else height / 2)
        candidates.append((left, top, left + width, top + height))
    inside = (LEFT, TOP, WIDTH - RIGHT, TOP + INNER_HEIGHT)

    def cost(box: Box) -> float:
        covered = sum(_overlap(box, other) for other in occupied)
        return covered + 3 * (width * height - _overlap(box, inside))

    best = min(candidates, key=cost)
    occupied.append(best)
    place = f'x="{best[0]:.1f}" y="{best[3] - 2:.1f}" style="fill:{color(point.series)}"'
    return f'<text class="name" {of_series(point.series)} {place}>{escape(point.short)}</text>'


def _overlap(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(width, 0.0) * max(height, 0.0)


def _axis(figures: Sequence[Estimate], start: float, end: float) -> Axis:
    """An axis that holds all means and intervals, with some room around them."""
    values = [value for figure in figures for value in (figure.mean, *(figure.interval or ())) if math.isfinite(value)]
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    # No negative ticks beside figures that have none, and none above 1 beside shares, which end there.
    return Axis(0.0 if 0 <= low < 2 * room else low - room, 1.0 if high == 1 else high + room, start, end)


def _frame(
    x_axis: Axis, y_axis: Axis, x_name: str, y_name: str, x_better: str, y_better: str, spoken: str
) -> list[str]:
    """The opening of an SVG: names, grid lines and their values."""
    bottom = TOP + INNER_HEIGHT
    svg = [f'<svg class="chart" viewBox="0 0 {WIDTH} {bottom + BOTTOM}" role="img" aria-label="{escape(spoken)}">']
    svg.append(
        f'<text x="4" y="16"><tspan class="title">{escape(y_name)}</tspan>{_direction(y_better, "↑", "↓")}</text>'
    )
    for value, text in _tick_texts(y_axis):
        y = y_axis.place(value)
        svg.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        svg.append(f'<text x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    for value, text in _tick_texts(x_axis):
        x = x_axis.place(value)
        svg.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}"/>')
        svg.append(f'<text x="{x:.1f}" y="{bottom + 17}" text-anchor="middle">{text}</text>')
    middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
    svg.append(
        f'<text x="{middle:.0f}" y="{bottom + BOTTOM - 8}" text-anchor="middle">'
        f'<tspan class="title">{escape(x_name)}</tspan>{_direction(x_better, "→", "←")}</text>'
    )
    return svg


def _direction(better: str, up: str, down: str) -> str:
    return f" {up if better == HIGHER else down} {ARROWS[better]}" if better else ""


def _tick_texts(axis: Axis) -> list[tuple[float, str]]:
    ticks = axis.ticks()
    if axis.log:
        return [(value, f"{value:g}") for value in ticks]
    gaps = [later - earlier for earlier, later in itertools.pairwise(ticks)]
    digits = max(0, -math.floor(math.log10(min(gaps)) + 1e-9)) if gaps else 2
    return [(value, f"{value + 0.0:.{digits}f}") for value in ticks]


def _round_step(step: float) -> float:
    """The nearest of 1, 2, 2.5, 5 and 10 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return min((power * factor for factor in (1, 2, 5, 10)), key=lambda each: abs(math.log(each / step)))
