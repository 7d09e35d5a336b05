"""Charts of the report place their points, bars and ticks correctly."""

import re

import pytest
from threestudio_rsd.metrics.names import MetricInfo
from threestudio_rsd.metrics.statistics import Estimate
from threestudio_rsd.report.charts import LETTER, WIDTH, Line, Point, draw_lines, draw_points, format_estimate

X, Y = MetricInfo("x", True, 3, "world"), MetricInfo("y", False, 3, "world")


def test_points_lie_where_their_figures_are():
    points = [Point("a", Estimate(0.1), Estimate(30.0), 0), Point("b", Estimate(0.3, 0.2, 0.4), Estimate(20.0), 0)]
    svg = draw_points(points, X, Y)
    (left, top), (right, bottom) = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', svg)
    assert float(left) < float(right)
    assert float(top) < float(bottom), "y grows upwards"
    low, high = re.search(r'd="M([\d.]+),[\d.]+H([\d.]+)"', svg).groups()
    assert float(low) < float(right) < float(high) <= WIDTH
    assert "→ more is better" in svg
    assert "↓ less is better" in svg


@pytest.mark.parametrize("value", [0.0, 1.0, 1e-9, -3.0, 1e6])
def test_a_single_value_can_be_drawn(value):
    svg = draw_points([Point("a", Estimate(value), Estimate(value, value, value), 0, short="0")], X, X)
    assert "nan" not in svg
    assert "inf" not in svg
    assert "nan" not in draw_lines([Line("a", 0, [(10, value), (20, value)])], "loss", is_loss=True)


def test_losses_over_several_powers_of_ten_have_such_an_axis():
    svg = draw_lines([Line("a", 0, [(0, 1000.0), (10, 1.0)])], "loss", is_loss=True)
    assert [text for text in ("1000", "100", "10", "1") if f">{text}</text>" in svg] == ["1000", "100", "10", "1"]


def test_estimates_have_the_digits_of_their_metric():
    assert format_estimate(Estimate(0.123456, 0.1, 0.2), 3) == "0.123 [0.100, 0.200]"
    assert format_estimate(Estimate(1234.5), 0) == "1234"


def test_labels_of_many_curves_do_not_overlap():
    """Twelve curves of four near points, as in Fig. 3: a label has a place of its own or is left out."""
    points = [
        Point(
            "a", Estimate(0.5 + 0.01 * curve + 0.1 * place), Estimate(300.0 + 5 * curve), curve, short=f"{10 * place}"
        )
        for curve in range(12)
        for place in range(4)
    ]
    found = re.findall(r'<text class="name" [^>]*x="([-\d.]+)" y="([-\d.]+)"[^>]*>(\d+)<', draw_points(points, X, Y))
    boxes = [(float(x), float(y) - 10, float(x) + LETTER * len(text), float(y) + 2) for x, y, text in found]
    assert len(boxes) > len(points) / 2
    for index, one in enumerate(boxes):
        for other in boxes[:index]:
            apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
            assert apart, (one, other)
