"""One self-contained HTML page that shows runs side by side: grids, figures, curves, config, versions.

It needs no network and no script: images are data URIs, curves inline SVG. It follows the reader's light or dark
scheme, reads on a phone and works with the keyboard alone.
"""

import base64
import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

from ..files import write_whole
from ..runs.trial import SKIPPED_KEYS, Curve, Trial, config_differences, versions
from ..text_tables import format_number

DASHES = ("", "7 4", "2 3", "9 3 2 3")  # a second cue beside color
WIDTH, INNER_HEIGHT = 440, 200  # small, so that a phone need not shrink the text below what can be read
LEFT, RIGHT, TITLE, BOTTOM = 50, 16, 30, 42
LEGEND_COLUMNS, LEGEND_ROW = 2, 20

STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1b1f24;--soft:#59636e;--line:#d1d9e0;--panel:#f6f8fa;
--c0:#b35900;--c1:#0969da;--c2:#1a7f37;--c3:#8250df}
@media (prefers-color-scheme:dark){:root{--paper:#0d1117;--ink:#e6edf3;--soft:#9198a1;--line:#3d444d;--panel:#161b22;
--c0:#f0a35e;--c1:#58a6ff;--c2:#56d364;--c3:#c297ff}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:1180px;margin:0 auto;padding:1.25rem}
h1{font-size:1.6rem;line-height:1.2;margin:.2rem 0 .6rem}
h2{font-size:1.15rem;margin:2rem 0 .6rem}
p{margin:.4rem 0}
code{font:0.9em ui-monospace,Menlo,Consolas,monospace}
.command{display:block;background:var(--panel);border:1px solid var(--line);border-radius:6px;padding:.6rem .8rem;
overflow-x:auto;white-space:pre}
.side{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,320px),1fr));gap:1rem}
figure{margin:0;background:var(--panel);border:1px solid var(--line);border-radius:8px;padding:.7rem}
figure img{display:block;width:100%;height:auto;border-radius:4px}
figcaption{margin-bottom:.5rem;font-weight:600}
figcaption small{display:block;font-weight:400;color:var(--soft)}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.4rem .7rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left}
thead th{color:var(--soft);font-weight:600;vertical-align:bottom;white-space:normal}
tbody th{font-weight:600}
.swatch{display:inline-block;width:.8em;height:.8em;border-radius:2px;margin-right:.45em}
svg{display:block;width:100%;max-width:600px;height:auto;margin:0 auto}
svg text{fill:var(--soft);font:13px system-ui,-apple-system,"Segoe UI",sans-serif}
svg .title{fill:var(--ink);font-weight:600;font-size:15px}
svg .grid{stroke:var(--line);stroke-width:1}
svg .curve{fill:none;stroke-width:2.2;stroke-linejoin:round}
details{margin:.6rem 0}
summary{cursor:pointer;padding:.35rem 0}
:focus-visible{outline:3px solid var(--c1);outline-offset:2px}
.skip{position:absolute;left:-999px}
.skip:focus{left:1rem;top:.5rem;background:var(--paper);padding:.4rem .7rem}
@media (max-width:600px){main{padding:.8rem}th,td{padding:.35rem .5rem}}
"""


def write_page(path: Path, title: str, command: str, trials: Sequence[Trial], note: str = "") -> Path:
    """Write the page whole or not at all.

    Args:
        path: HTML file.
        title: heading.
        command: what the user typed.
        trials: runs to show, in order.
        note: a sentence under the heading.
    """
    return write_whole(path, render_page(title, command, trials, note))


def render_page(title: str, command: str, trials: Sequence[Trial], note: str = "") -> str:
    """The page as HTML; arguments as for `write_page`."""
    trials = list(trials)
    parts = [
        *page_opening(title, note, command),
        f'<div class="side">{"".join(_grid(trial) for trial in trials)}</div>',
        '<h2 id="figures">Figures</h2>',
        scrolling(metrics_table(*metrics_rows(trials)), "figures"),
        "<p>Diversity is 1 minus the mean cosine similarity of the particles' features: 0 for N times the same image. "
        "The network that guided the repulsion flatters it; the other took no part.</p>",
        '<h2 id="curves">Diversity over the steps</h2>',
        _curves(trials),
        '<h2 id="config">What differs in the configs</h2>',
        scrolling(config_table(trials), "config differences"),
        *versions_section(),
    ]
    return render_document(title, parts)


def render_document(title: str, parts: Sequence[str], style: str = "", script: str = "") -> str:
    """A whole HTML document around the parts of its body.

    Args:
        title: in the browser's tab.
        parts: HTML; empty ones are left out.
        style: CSS, added to STYLE.
        script: JavaScript, run where the browser allows it; the root element then has the class `js`.
    """
    scripts = f"<script>document.documentElement.classList.add('js');\n{script}</script>\n" if script else ""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}{style}</style>\n{scripts}</head>\n<body>\n"
        '<a class="skip" href="#images">Skip to the images</a>\n<main>\n'
        + "\n".join(part for part in parts if part)
        + "\n</main>\n</body>\n</html>\n"
    )


def page_opening(title: str, note: str, command: str) -> list[str]:
    """Heading, note and command, up to the heading of the images."""
    return [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(note)}</p>" if note else "",
        f'<code class="command" tabindex="0" aria-label="command">{escape(command)}</code>' if command else "",
        '<h2 id="images">Images</h2>',
    ]


def versions_section(*further: str) -> list[str]:
    """Heading and text of `versions`."""
    text = ", ".join(f"{name} {version}" for name, version in versions(*further).items())
    return ['<h2 id="versions">Versions</h2>', f"<p>{escape(text)}</p>"]


def metrics_rows(trials: Sequence[Trial]) -> tuple[list[str], list[list[str]]]:
    """Headings and one row of printable figures per trial, label first; a dash where nothing was measured."""
    networks = list(dict.fromkeys(name for trial in trials for name in trial.metrics.get("diversity", {})))
    headings = ["run", *(f"diversity, {name}" for name in networks), "colors", "class accuracy", "seconds per step"]
    rows = []
    for trial in trials:
        metrics = trial.metrics
        row = [trial.label, *(format_number(metrics.get("diversity", {}).get(name), ".3f") for name in networks)]
        row += [
            format_number(metrics.get("colors"), "d"),
            format_number(metrics.get("classes_correct"), ".2f"),
            format_number(metrics.get("seconds_per_step"), ".2f"),
        ]
        rows.append(row)
    return headings, rows


def _grid(trial: Trial) -> str:
    n, prompt = trial.metrics.get("n_particles", "?"), trial.metrics.get("prompt", "")
    about = f'{n} particles for "{prompt}"'
    return (
        f"<figure><figcaption>{escape(trial.label)}<small>{escape(about)}</small></figcaption>"
        f"{embedded_image(trial.grid, f'{trial.label}: grid of {about}')}</figure>"
    )


def embedded_image(file: Path, alternative: str) -> str:
    """A PNG as an `img` that needs no file."""
    data = base64.b64encode(file.read_bytes()).decode()
    return f'<img alt="{escape(alternative)}" src="data:image/png;base64,{data}">'


def scrolling(table: str, name: str) -> str:
    """A table that scrolls by itself on a narrow screen, with the keyboard too."""
    return f'<div class="wide" role="region" aria-label="{name}" tabindex="0">{table}</div>'


def metrics_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Table of printable figures, a row for each run, its label first."""
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in headings)
    body = ""
    for index, row in enumerate(rows):
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        body += f'<tr><th scope="row">{_swatch(index)}{escape(row[0])}</th>{cells}</tr>'
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _swatch(index: int) -> str:
    return f'<span class="swatch" style="background:var(--c{index % 4})" aria-hidden="true"></span>'


def config_table(trials: list[Trial]) -> str:
    """Table of the config keys in which the trials differ."""
    differences = config_differences(trials)
    shown = {key: row for key, row in differences.items() if key not in SKIPPED_KEYS}
    if not shown:
        return "<p>Nothing.</p>"
    head = "".join(f'<th scope="col">{escape(trial.label)}</th>' for trial in trials)
    body = "".join(
        f'<tr><th scope="row"><code>{escape(key)}</code></th>'
        + "".join(f"<td>{escape('-' if value is None else str(value))}</td>" for value in row)
        + "</tr>"
        for key, row in shown.items()
    )
    return f'<table><thead><tr><th scope="col">key</th>{head}</tr></thead><tbody>{body}</tbody></table>'


def _curves(trials: list[Trial]) -> str:
    measured = [name for trial in trials for name in trial.metrics.get("diversity", {})]
    logged = {name for trial in trials for name in trial.curves}
    networks = [name for name in dict.fromkeys([*measured, *sorted(logged)]) if name in logged]
    if not networks:
        return "<p>Nothing was logged during training.</p>"
    charts = "".join(f"<figure>{draw_chart(name, trials)}</figure>" for name in networks)
    values = "".join(_values_table(name, trials) for name in networks)
    return f'<div class="side">{charts}</div><details><summary>The curves as tables</summary>{values}</details>'


def _values_table(network: str, trials: list[Trial]) -> str:
    shown = [trial for trial in trials if network in trial.curves]
    by_step = [dict(trial.curves[network]) for trial in shown]
    head = "".join(f'<th scope="col">{escape(trial.label)}</th>' for trial in shown)
    body = ""
    for step in sorted(set().union(*by_step)):
        cells = "".join(f"<td>{format_number(values.get(step), '.3f')}</td>" for values in by_step)
        body += f'<tr><th scope="row">{step + 1}</th>{cells}</tr>'
    table = f"<thead><tr><th>step, {escape(network)}</th>{head}</tr></thead><tbody>{body}</tbody>"
    return scrolling(f"<table>{table}</table>", f"diversity in {escape(network)}")


def draw_chart(network: str, trials: Sequence[Trial]) -> str:
    """Inline SVG of the diversity in one network over the steps, with axes, title and legend.

    A line per trial; a level line for a trial that logged none but was measured at its end, such as plain sampling.
    """
    last = max((step for trial in trials for step, _ in trial.curves.get(network, [])), default=0) + 1
    curves = [(index, trial.label, _curve(trial, network, last)) for index, trial in enumerate(trials)]
    curves = [(index, label, curve) for index, label, curve in curves if curve]
    top = _round_up(max([value for _, _, curve in curves for _, value in curve] + [0.1]))
    inner_width = WIDTH - LEFT - RIGHT
    above = TITLE + LEGEND_ROW * math.ceil(len(curves) / LEGEND_COLUMNS)
    bottom = above + INNER_HEIGHT

    def x(step: float) -> float:
        return LEFT + inner_width * step / last

    def y(value: float) -> float:
        return bottom - INNER_HEIGHT * max(min(value, top), 0) / top

    title = f"Diversity in {network}"
    ends = ", ".join(f"{label} ends at {curve[-1][1]:.2f}" for _, label, curve in curves)
    spoken = escape(f"{title} over the steps: {ends}")
    svg = [
        f'<svg viewBox="0 0 {WIDTH} {bottom + BOTTOM}" role="img" aria-label="{spoken}">',
        f'<text class="title" x="{LEFT}" y="16">{escape(title)}</text>',
    ]
    for tick in range(5):
        value = top * tick / 4
        svg.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>')
        svg.append(f'<text x="{LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.3g}</text>')
        step = last * tick / 4
        svg.append(f'<text x="{x(step):.1f}" y="{bottom + 18}" text-anchor="middle">{step:.0f}</text>')
    svg.append(f'<text x="{LEFT + inner_width / 2}" y="{bottom + BOTTOM - 6}" text-anchor="middle">step</text>')
    legend_width = inner_width / LEGEND_COLUMNS
    for place, (index, label, curve) in enumerate(curves):
        points = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in curve)
        left = LEFT + place % LEGEND_COLUMNS * legend_width
        y_legend = TITLE + LEGEND_ROW * (place // LEGEND_COLUMNS) + 8
        svg.append(f'<polyline class="curve" points="{points}" {_stroke(index)}/>')
        ends_of_sample = f'x1="{left:.0f}" x2="{left + 24:.0f}" y1="{y_legend - 4}" y2="{y_legend - 4}"'
        svg.append(f'<line {ends_of_sample} stroke-width="2.2" {_stroke(index)}/>')
        svg.append(f'<text x="{left + 30:.0f}" y="{y_legend}">{escape(_short(label, legend_width - 34))}</text>')
    return "".join(svg) + "</svg>"


def _curve(trial: Trial, network: str, last: int) -> Curve:
    """Finite points (number of steps done, diversity)."""
    points = [(step + 1, value) for step, value in trial.curves.get(network, [])]
    final = trial.metrics.get("diversity", {}).get(network)
    if not points and final is not None:
        points = [(0, final), (last, final)]
    return [(step, value) for step, value in points if math.isfinite(value)]


def _stroke(index: int) -> str:
    return f'style="stroke:var(--c{index % 4})" stroke-dasharray="{DASHES[index % 4]}"'


def _short(label: str, width: float) -> str:
    """As much of a label as fits, at about 7 units a letter."""
    room = max(int(width / 7), 4)
    return label if len(label) <= room else label[: room - 1] + "\u2026"


def _round_up(value: float) -> float:
    """The next of 1, 2, 4, 5, 8, 10 times a power of ten: four even gridlines with short labels."""
    power = 10 ** math.floor(math.log10(value))
    return next(power * factor for factor in (1, 1.2, 1.6, 2, 4, 5, 8, 10) if power * factor >= value * (1 - 1e-9))
