"""Charts of a report as inline SVG: one metric against another with intervals, and logged values over the steps."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup, escape

from ..metrics.names import MetricInfo
from ..metrics.statistics import Estimate
from ..runs.trial import Curve

COLORS = 8  # --s0 to --s7 in report.css
DASHES = ("", "7 4", "2 3", "9 3 2 3")  # a second cue beside color
MARKS = ("circle", "square", "triangle", "diamond", "cross")
WIDTH, INNER_HEIGHT = 360, 210  # no wider than a phone, so that the text keeps its size there
LEFT, RIGHT, TOP, BOTTOM = 50, 22, 30, 46
LETTER = 7.0  # width of a letter of a label


@dataclass(frozen=True)
class Point:
    """A setting in a chart of one metric against another.

    Attributes:
        label: name of the setting.
        x: value on the horizontal axis.
        y: value on the vertical axis.
        series: index of its color and mark; points of one series are joined in their order.
        mark: one of MARKS.
        short: text beside the mark, such as gamma.
    """

    label: str
    x: Estimate
    y: Estimate
    series: int
    mark: str = MARKS[0]
    short: str = ""


@dataclass(frozen=True)
class Line:
    """A logged value over the steps.

    Attributes:
        label: name of the setting.
        series: index of its color and dashes.
        mean: mean over the runs, (step, value).
        band: range over the runs, (step, low, high); empty for a single run.
    """

    label: str
    series: int
    mean: Curve
    band: list[tuple[int, float, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Axis:
    """Range of values along one side of a chart.

    Attributes:
        low: value at `start`.
        high: value at `end`.
        start: coordinate in the SVG.
        end: coordinate in the SVG.
        log: whether the scale is logarithmic.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def place(self, value: float) -> float:
        """Coordinate of a value; values out of range lie on the border."""
        low, high, value = (
            math.log10(each) if self.log else each
            for each in (self.low, self.high, max(value, 1e-12) if self.log else value)
        )
        return self.start + (self.end - self.start) * min(max((value - low) / (high - low), 0.0), 1.0)

    def ticks(self) -> list[float]:
        """About four round values; all powers of ten on a logarithmic scale."""
        if self.log:
            powers = range(math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9) + 1)
            return [10.0**power for power in powers]
        step = _round_step((self.high - self.low) / 4)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [step * index for index in range(first, last + 1)]


def draw_points(points: Sequence[Point], x_metric: MetricInfo, y_metric: MetricInfo) -> Markup:
    """Inline SVG of one metric against another, with error bars where there are intervals.

    Args:
        points: points; those of one series in the order in which they are joined.
        x_metric: metric on the horizontal axis.
        y_metric: metric on the vertical axis.
    """
    x_axis = _axis([point.x for point in points], LEFT, WIDTH - RIGHT)
    y_axis = _axis([point.y for point in points], TOP + INNER_HEIGHT, TOP)
    texts = [(format_estimate(point.x, x_metric.digits), format_estimate(point.y, y_metric.digits)) for point in points]
    spoken = "; ".join(f"{point.label}: {x}, {y}" for point, (x, y) in zip(points, texts, strict=True))
    x_title = _axis_title(x_metric.title) + _direction(x_metric, "→", "←")
    y_title = _axis_title(y_metric.title) + _direction(y_metric, "↑", "↓")
    svg = _frame(x_axis, y_axis, x_title, y_title, f"{y_metric.title} against {x_metric.title}. {spoken}")
    for series in dict.fromkeys(point.series for point in points):
        members = [point for point in points if point.series == series]
        if len(members) > 1:
            places = " ".join(f"{x_axis.place(p.x.mean):.1f},{y_axis.place(p.y.mean):.1f}" for p in members)
            svg.append(f'<polyline class="curve thin" points="{places}" {of_series(series)} {stroke(series)}/>')
    occupied: list[Box] = []
    for point, (x_text, y_text) in zip(points, texts, strict=True):
        title = f"{point.label}: {x_metric.title} {x_text}, {y_metric.title} {y_text}"
        svg.append(_point(point, title, x_axis, y_axis, occupied))
    labels: list[Box] = []
    for point in points:
        if point.short:
            svg.append(_label(point, x_axis.place(point.x.mean), y_axis.place(point.y.mean), occupied, labels))
    return Markup("".join(svg) + "</svg>")


def draw_lines(lines: Sequence[Line], name: str, is_loss: bool = False) -> Markup:
    """Inline SVG of a logged value over the steps.

    Args:
        lines: at least one line, none of them empty.
        name: name of the value.
        is_loss: use a logarithmic scale where the values span several powers of ten; else the scale starts at 0.
    """
    bottom = TOP + INNER_HEIGHT
    values = [value for line in lines for _, value in line.mean]
    values += [value for line in lines for _, *ends in line.band for value in ends]
    low, high = min(values), max(values)
    if is_loss and low > 0 and high > 30 * low:
        y_axis = Axis(10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high)), bottom, TOP, log=True)
    else:
        y_axis = _axis([Estimate(low if is_loss else min(low, 0.0)), Estimate(high)], bottom, TOP)
    x_axis = Axis(0, max(step for line in lines for step, _ in line.mean), LEFT, WIDTH - RIGHT)
    ends = ", ".join(f"{line.label} ends at {line.mean[-1][1]:.3g}" for line in lines)
    svg = _frame(x_axis, y_axis, _axis_title("step"), _axis_title(name), f"{name} over the steps: {ends}")
    for line in lines:
        if line.band:
            upper = [f"{x_axis.place(step):.1f},{y_axis.place(high):.1f}" for step, _, high in line.band]
            lower = [f"{x_axis.place(step):.1f},{y_axis.place(low):.1f}" for step, low, _ in reversed(line.band)]
            points = " ".join(upper + lower)
            style = f'style="fill:{color(line.series)}"'
            svg.append(f'<polygon class="band" points="{points}" {of_series(line.series)} {style}/>')
    for line in lines:
        places = " ".join(f"{x_axis.place(step):.1f},{y_axis.place(value):.1f}" for step, value in line.mean)
        title = f"<title>{escape(line.label)}</title>"
        attributes = f"{of_series(line.series)} {stroke(line.series)}"
        svg.append(f'<polyline class="curve" points="{places}" {attributes}>{title}</polyline>')
    return Markup("".join(svg) + "</svg>")


def draw_sample(series: int, line_length: int = 0, mark: str = "") -> Markup:
    """Inline SVG of a line and a mark of a series, for a legend.

    Args:
        series: index of the color.
        line_length: length of the line, at most 34; 0: no line.
        mark: one of MARKS; empty: no mark.
    """
    start, end = 17 - line_length / 2, 17 + line_length / 2
    line = f'<line x1="{start:g}" x2="{end:g}" y1="7" y2="7" stroke-width="2" {stroke(series)}/>' if line_length else ""
    drawn = _mark(mark, 17, 7, series) if mark else ""
    return Markup(f'<svg viewBox="0 0 34 14" aria-hidden="true">{line}{drawn}</svg>')


def format_estimate(estimate: Estimate, digits: int) -> str:
    """`mean [low, high]`; the mean alone where there is no interval.

    Args:
        estimate: mean and interval.
        digits: number of decimal places.
    """
    if estimate.interval is None:
        return f"{estimate.mean:.{digits}f}"
    return f"{estimate.mean:.{digits}f} [{estimate.interval[0]:.{digits}f}, {estimate.interval[1]:.{digits}f}]"


def of_series(series: int) -> str:
    """Attribute by which the legend finds the parts of a series."""
    return f'data-series="{series}"'


def color(series: int) -> str:
    """Color of a series as a CSS value."""
    return f"var(--s{series % COLORS})"


def stroke(series: int, dashed: bool = True) -> str:
    """SVG attributes of a line of a series."""
    dashes = DASHES[(series + series // COLORS) % len(DASHES)] if dashed else ""
    return f'style="stroke:{color(series)}"' + (f' stroke-dasharray="{dashes}"' if dashes else "")


Box = tuple[float, float, float, float]  # left, top, right, bottom


def _point(point: Point, title: str, x_axis: Axis, y_axis: Axis, occupied: list[Box]) -> str:
    """A point with its error bars and a tooltip; adds the area that it covers to `occupied`."""
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
    drawn = f'<path class="bar" d="{bars}" {stroke(point.series, dashed=False)}/>' if bars else ""
    drawn += _mark(point.mark, x, y, point.series)
    return f"<g {of_series(point.series)}><title>{escape(title)}</title>{drawn}</g>"


def _mark(name: str, x: float, y: float, series: int) -> str:
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


def _label(point: Point, x: float, y: float, occupied: list[Box], labels: list[Box]) -> str:
    """Short text of a point beside its mark, where it covers least of `occupied` and none of `labels`.

    Adds its own area to `labels`. Where there is no such place the text is left out; the tooltip and the table have it.
    """
    width, height = LETTER * len(point.short), 12
    inside = (LEFT, TOP, WIDTH - RIGHT, TOP + INNER_HEIGHT)
    candidates = []
    for distance in (1, 2, 3):
        for right, down in itertools.product((1, 0, -1), (-1, 0, 1)):
            left = x + 8 * distance * right - (width if right < 0 else width / 2 if right == 0 else 0)
            top = y + 9 * distance * down - (height if down < 0 else 0 if down > 0 else height / 2)
            box = (left, top, left + width, top + height)
            if (right or down) and not any(_overlap(box, other) for other in labels):
                covered = sum(_overlap(box, other) for other in occupied)
                outside = width * height - _overlap(box, inside)
                candidates.append((covered + 3 * outside + 20 * (distance - 1), box))
    if not candidates:
        return ""
    best = min(candidates, key=lambda candidate: candidate[0])[1]
    labels.append(best)
    place = f'x="{best[0]:.1f}" y="{best[3] - 2:.1f}" style="fill:{color(point.series)}"'
    return f'<text class="name" {of_series(point.series)} {place}>{escape(point.short)}</text>'


def _overlap(one: Box, other: Box) -> float:
    """Area that two boxes share."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(width, 0.0) * max(height, 0.0)


def _axis(estimates: Sequence[Estimate], start: float, end: float) -> Axis:
    """An axis that holds all means and intervals, with some room around them."""
    values = [value for each in estimates for value in (each.mean, *(each.interval or ())) if math.isfinite(value)]
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    # No negative ticks where no value is negative, and none above 1 where 1 is the largest: shares end there.
    return Axis(0.0 if 0 <= low < 2 * room else low - room, 1.0 if high == 1 else high + room, start, end)


def _frame(x_axis: Axis, y_axis: Axis, x_title: str, y_title: str, spoken: str) -> list[str]:
    """Opening of an SVG: description for screen readers, titles of the axes, grid lines and their values."""
    bottom = TOP + INNER_HEIGHT
    svg = [f'<svg class="chart" viewBox="0 0 {WIDTH} {bottom + BOTTOM}" role="img" aria-label="{escape(spoken)}">']
    svg.append(f'<text x="4" y="16">{y_title}</text>')
    for value, text in _tick_texts(y_axis):
        y = y_axis.place(value)
        svg.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        svg.append(f'<text x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    for value, text in _tick_texts(x_axis):
        x = x_axis.place(value)
        svg.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}"/>')
        svg.append(f'<text x="{x:.1f}" y="{bottom + 17}" text-anchor="middle">{text}</text>')
    middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
    place = f'x="{middle:.0f}" y="{bottom + BOTTOM - 8}" text-anchor="middle"'
    svg.append(f"<text {place}>{x_title}</text>")
    return svg


def _axis_title(name: str) -> str:
    return f'<tspan class="title">{escape(name)}</tspan>'


def _direction(metric: MetricInfo, up: str, down: str) -> str:
    """Which way a metric is better, in words with an arrow."""
    if metric.higher_is_better is None:
        return ""
    return f" {up} more is better" if metric.higher_is_better else f" {down} less is better"


def _tick_texts(axis: Axis) -> list[tuple[float, str]]:
    ticks = axis.ticks()
    if axis.log:
        return [(value, f"{value:g}") for value in ticks]
    gaps = [later - earlier for earlier, later in itertools.pairwise(ticks)]
    digits = max(0, -math.floor(math.log10(min(gaps)) + 1e-9)) if gaps else 2
    return [(value, f"{value + 0.0:.{digits}f}") for value in ticks]


def _round_step(step: float) -> float:
    """The nearest of 1, 2, 5 and 10 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return min((power * factor for factor in (1, 2, 5, 10)), key=lambda each: abs(math.log(each / step)))
