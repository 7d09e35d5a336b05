"""The page of `rsd report`: images side by side, trade-offs, numbers, curves over the steps, configs."""

import math
import time
from collections.abc import Sequence
from html import escape
from pathlib import Path

from ..errors import UserError
from ..files import make_folder, write_whole
from ..reproduce.definitions import ROLES
from ..runs.grid import format_value
from ..runs.trial import DIVERSITY, Curve, Trial, versions
from .charts import Line, Point, draw_lines, draw_points, format_figure, mark, number_form, of_series, stroke
from .gallery import render_images
from .html import config_table, page_opening, render_document, scrolling
from .readers import read_study
from .study import HIGHER, LOWER, Arm, Estimate, Metric, Missing, Study, network_name, seed_name

PAGE = "report.html"
SPREAD = (DIVERSITY, "vendi_", "recall", "coverage", "colors", "seconds")  # how different, or how fast: no quality
ROLE_MARKS = dict(zip(ROLES, ("circle", "diamond", "square", "triangle"), strict=True))
ROLE_NAMES = {"method": "", "bound": "bound", "independent": "independent runs", "rival": "rival"}
LOGGED = (DIVERSITY, "loss", "residual")  # beginnings of the names of logged values that are drawn
FEW_MISSING = 5  # are listed openly
CROWDED = 8  # settings, above which charts are large and show no ranges
IN_PAPER = {"clip": "clip_score"}  # names of figures that differ in what the paper says


def render_report(study: Study) -> str:
    """The page as HTML, everything within itself."""
    parts = [
        *page_opening(study.title, f"The paper: {study.claim}" if study.claim else "", study.command),
        render_images(study),
        _trade_offs(study),
        _numbers(study),
        _curves(study),
        _configs(study),
    ]
    # The facts and what is missing stand between the command and the images.
    parts.insert(3, _facts(study))
    style, script = (
        (Path(__file__).parent / "static" / name).read_text(encoding="utf-8") for name in ("report.css", "report.js")
    )
    return render_document(study.title, parts, style, script)


def _facts(study: Study) -> str:
    """What is compared, when it was made, and what is missing."""
    prompts = len({prompt for prompt, _ in study.cases if prompt})
    seeds = len({seed for _, seed in study.cases if seed is not None})
    shown = [_count(len(study.arms), "setting")]
    shown += [_count(prompts, "prompt")] if prompts else []
    shown += [_count(seeds, "seed")] if seeds else []
    sentence = ", ".join(shown) + f": {_count(sum(len(arm.cases) for arm in study.arms), 'result')}"
    sentence += f", {_count(study.particles, 'particle')} each" if study.particles else ""
    sentence += f", {_count(study.steps, 'step')}." if study.steps else "."
    networks = [network_name(name) for name in study.networks if name != study.guide]
    if networks:
        sentence += (
            f" Repulsion compares features of {network_name(study.guide)}; {' and '.join(networks)} took no part."
        )
    dates = [f"prior: {study.prior}"] if study.prior else []
    dates += [f"results of {_date(study.measured)}"] if study.measured else []
    dates.append(f"page written {_date(time.time())}")
    lines = [f"<p>{escape(text)}</p>" for text in (sentence, *study.notes)]
    if len({len(arm.cases) for arm in study.arms}) > 1:
        lines.append("<p>Settings have different numbers of results: part of what differs may be the prompts.</p>")
    lines.append(f'<p class="facts">{escape("; ".join(dates))}</p>')
    return "".join(lines) + _missing(study.missing)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def _missing(missing: Sequence[Missing]) -> str:
    if not missing:
        return ""
    items = "".join(
        f"<li>{escape(', '.join(part for part in (each.arm, each.prompt, seed_name(each.seed)) if part))}"
        + (f": {escape(each.error)}" if each.error else "")
        + "</li>"
        for each in missing
    )
    is_open = " open" if len(missing) <= FEW_MISSING else ""
    return (
        f'<details class="missing"{is_open}><summary>Missing: {_count(len(missing), "result")}</summary>'
        f"<ul>{items}</ul></details>"
    )


def _trade_offs(study: Study) -> str:
    """Diversity in each network against every quality."""
    series = _series(study.arms)
    sections, equal = [], {}
    size = " large" if len(study.arms) > CROWDED else ""
    for network in study.networks:
        x_key = f"{DIVERSITY}{network}"
        charts = ""
        for key, metric in study.metrics.items():
            arms = [arm for arm in study.arms if key in arm.figures and x_key in arm.figures]
            if key.startswith(SPREAD) or len(arms) < 2:
                continue
            if len({arm.figures[key].mean for arm in arms}) == 1:
                equal[key] = f"{metric.name} {format_figure(arms[0].figures[key])}"
                continue
            charts += f"<figure>{_trade_off(arms, series, (x_key, study.metrics[x_key]), (key, metric))}</figure>"
        if charts:
            part = "which guided the repulsion" if network == study.guide else "which took no part in the repulsion"
            heading = f"<h3>Diversity in {escape(network_name(network))}, {part}</h3>"
            sections.append(f'<section>{heading}<div class="charts{size}">{charts}</div></section>')
    heading, same = '<h2 id="trade-offs">Diversity against quality</h2>', ""
    if equal:
        same = f"<p>The same for all settings: {escape(', '.join(equal.values()))}.</p>"
    if not sections:
        return heading + same if same else ""
    entries, seen = [], set()
    for arm in study.arms:
        if series[arm.label] not in seen:
            seen.add(series[arm.label])
            role = ROLE_NAMES[arm.role]
            name = arm.curve or arm.label
            sample = (_line(17, series[arm.label]) if arm.curve else "") + mark(
                ROLE_MARKS[arm.role], 17, 7, series[arm.label]
            )
            entries.append((series[arm.label], sample, f"{name} ({role})" if role and role not in name else name))
    about = "Every point is a mean with its 95 % interval in both directions, where there are several results."
    if any(arm.curve for arm in study.arms):
        about += " Beside the points of a curve stands what varies along it, such as gamma."
    return (
        f'{heading}<p>{about}</p>{same}<div class="charted">{_legend(entries)}'
        f'<div class="networks">{"".join(sections)}</div></div>{_equally_diverse(study)}'
    )


def _equally_diverse(study: Study) -> str:
    """Table of the curves where they are equally diverse."""
    rows = ""
    for each in study.comparisons:
        low, high = each.shared
        shared = f"{study.metrics[each.diversity].name} {low:{number_form([high])}} to {high:{number_form([high])}}"
        cells = "".join(
            f"<td>{escape(text)}</td>"
            for text in (each.curves[1], shared, study.metrics[each.quality].name, format_figure(each.difference))
        )
        rows += f'<tr><th scope="row">{escape(each.curves[0])}</th>{cells}</tr>'
    if not rows:
        return ""
    names = ("curve", "minus", "where both have", "quality", "difference")
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f"<h3>Curves where they are equally diverse</h3>{scrolling(table, 'equally diverse')}"


def _series(arms: Sequence[Arm]) -> dict[str, int]:
    """Number of the series of every arm by label: one for a curve, one for each other arm."""
    names = list(dict.fromkeys(arm.curve or f" {arm.label}" for arm in arms))
    return {arm.label: names.index(arm.curve or f" {arm.label}") for arm in arms}


def _trade_off(arms: Sequence[Arm], series: dict[str, int], x: tuple[str, Metric], y: tuple[str, Metric]) -> str:
    ordered = sorted(arms, key=lambda arm: (series[arm.label], math.inf if arm.position is None else arm.position))
    points = [
        Point(
            arm.label,
            arm.figures[x[0]],
            arm.figures[y[0]],
            series[arm.label],
            ROLE_MARKS[arm.role],
            format_value(float(arm.position)) if arm.curve and arm.position is not None else "",
        )
        for arm in ordered
    ]
    drawn = draw_points(points, x[1].name, y[1].name, x[1].better, y[1].better)
    rows = ""
    for point in points:
        cells = f"<td>{format_figure(point.x)}</td><td>{format_figure(point.y)}</td>"
        rows += f'<tr><th scope="row">{escape(point.label)}</th>{cells}</tr>'
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in ("setting", x[1].name, y[1].name))
    table = scrolling(f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>", escape(y[1].name))
    return f"{drawn}<details><summary>As a table</summary>{table}</details>"


def _legend(entries: Sequence[tuple[int, str, str]]) -> str:
    """A switch for each series, by which its curve can be hidden: number, sample and text."""
    items = "".join(
        f'<li><button type="button" aria-pressed="true" {of_series(series)}>'
        f'<svg viewBox="0 0 34 14" aria-hidden="true">{sample}</svg>{escape(text)}</button></li>'
        for series, sample, text in entries
    )
    return f'<ul class="legend" aria-label="curves that are shown">{items}</ul>'


def _line(width: int, series: int) -> str:
    return f'<line x1="{17 - width}" x2="{17 + width}" y1="7" y2="7" stroke-width="2" {stroke(series)}/>'


def _numbers(study: Study) -> str:
    if not study.metrics:
        return ""
    table = scrolling(_numbers_table(study), "numbers")
    return f'<h2 id="numbers">Numbers</h2>{table}<p>{escape(_about_numbers(study))}</p>'


def _numbers_table(study: Study) -> str:
    """Settings by metrics, mean [low, high]; what the paper says after the metric that it is of."""
    said = list(dict.fromkeys(key for arm in study.arms for key in arm.paper))
    after: dict[str, list[str]] = {}
    for key in said:
        ours = f"{DIVERSITY}{study.guide}" if key == "diversity" else IN_PAPER.get(key, key)
        after.setdefault(ours if ours in study.metrics else "", []).append(key)
    head, columns = [], []
    for key, metric in study.metrics.items():
        arrow = {HIGHER: "\u00a0↑", LOWER: "\u00a0↓"}.get(metric.better, "")
        form = number_form([arm.figures[key].mean for arm in study.arms if key in arm.figures])
        head.append(escape(metric.name + arrow))
        columns.append([_cell(arm.figures.get(key), form) for arm in study.arms])
        for each in after.get(key, []):
            head.append("in the paper")
            columns.append([_of_paper(arm, each) for arm in study.arms])
    for each in after.get("", []):
        head.append(f"in the paper: {escape(each)}")
        columns.append([_of_paper(arm, each) for arm in study.arms])
    if any(len(arm.cases) != 1 for arm in study.arms):
        head.insert(0, "results")
        columns.insert(0, [str(len(arm.cases)) for arm in study.arms])
    headings = "".join(f'<th scope="col">{text}</th>' for text in ("setting", *head))
    rows = ""
    for number, arm in enumerate(study.arms):
        cells = "".join(f"<td>{column[number]}</td>" for column in columns)
        rows += f'<tr><th scope="row">{escape(arm.label)}</th>{cells}</tr>'
    return f'<table class="numbers"><thead><tr>{headings}</tr></thead><tbody>{rows}</tbody></table>'


def _cell(figure: Estimate | None, form: str) -> str:
    if figure is None or not math.isfinite(figure.mean):
        return "-"
    mean = f"{figure.mean:{form}}"
    if figure.interval is None:
        return mean
    return f"{mean}<small>[{figure.interval[0]:{form}}, {figure.interval[1]:{form}}]</small>"


def _of_paper(arm: Arm, key: str) -> str:
    return f"{arm.paper[key]:g}" if key in arm.paper else "-"


def _about_numbers(study: Study) -> str:
    text = "Means; below them 95 % bootstrap intervals, where there are several results. ↑: more is better, ↓: less."
    if study.networks:
        text += (
            " Diversity is 1 minus the mean cosine similarity of the particles' features: 0 for N times the same "
            "image. The network that guided the repulsion flatters it."
        )
    if any(arm.paper for arm in study.arms):
        text += " The paper's numbers are of other models and prompts: compare the order, not the size."
    return text


def _curves(study: Study) -> str:
    """Every logged diversity and loss over the steps, a line for each setting."""
    logged = dict.fromkeys(name for arm in study.arms for case in arm.cases for log in case.logs for name in log)
    names = [name for beginning in LOGGED for name in sorted(logged) if name.startswith(beginning)]
    drawn, charts = set(), ""
    for name in names:
        lines = []
        for number, arm in enumerate(study.arms):
            if name.startswith(DIVERSITY) and arm.role == "independent":
                continue  # of one particle, which is never diverse
            mean, band = _mean_curve([log[name] for case in arm.cases for log in case.logs if name in log])
            if len(mean) > 1:
                lines.append(Line(arm.label, number, mean, band if len(study.arms) <= CROWDED else []))
                drawn.add(number)
        if lines:
            charts += f"<figure>{draw_lines(lines, _logged_name(name), not name.startswith(DIVERSITY))}</figure>"
    if not charts:
        return ""
    entries = [(number, _line(15, number), arm.label) for number, arm in enumerate(study.arms) if number in drawn]
    several = any(len([log for case in arm.cases for log in case.logs]) > 1 for arm in study.arms)
    bands = "; the bands hold all of them" if len(study.arms) <= CROWDED else ""
    about = f"<p>Means over the runs{bands}.</p>" if several else ""
    charted = f'<div class="charted">{_legend(entries)}<div class="charts">{charts}</div></div>'
    return f'<h2 id="curves">Over the steps</h2>{about}{charted}'


def _mean_curve(curves: Sequence[Curve]) -> tuple[Curve, list[tuple[int, float, float]]]:
    """Mean of some curves at every step, and their range where there are several."""
    at: dict[int, list[float]] = {}
    for curve in curves:
        for step, value in curve:
            if math.isfinite(value):
                at.setdefault(step + 1, []).append(value)
    mean = [(step, sum(values) / len(values)) for step, values in sorted(at.items())]
    band = [(step, min(values), max(values)) for step, values in sorted(at.items())] if len(curves) > 1 else []
    return mean, band


def _logged_name(name: str) -> str:
    if name.startswith(DIVERSITY):
        return f"diversity, {network_name(name.removeprefix(DIVERSITY))}"
    return name.replace("_", " ")


def _configs(study: Study) -> str:
    """What differs between the configs, each whole config, the commands of the runs, and versions."""
    trials = [Trial(arm.label, Path(), {}, config=arm.config) for arm in study.arms]
    blocks = ""
    for arm in study.arms:
        commands = "".join(
            f"<pre tabindex='0'>{escape(command)}</pre>" for case in arm.cases for command in case.commands
        )
        told = f"<h3>Commands of its runs</h3>{commands}" if commands else ""
        blocks += (
            f"<details><summary>{escape(arm.label)}</summary><h3>Config</h3>"
            f'<pre tabindex="0">{escape(arm.config_text)}</pre>{told}</details>'
        )
    found = ", ".join(f"{name} {version}" for name, version in (study.versions or versions()).items())
    where = "Made with" if study.versions else "The results do not say what they were made with; where this page was:"
    differs = ""
    if len(study.arms) > 1:
        differs = f"<h3>What differs</h3>{scrolling(config_table(trials), 'config differences')}"
    return (
        f'<h2 id="config">Config and versions</h2>{differs}<h3>Every config, and the commands of its runs</h3>{blocks}'
        f"<p>{where} {escape(found)}.</p>"
    )


def write_report(folder: Path, output: Path | None = None) -> str:
    """Write the page of a run, a sweep or a reproduction.

    Args:
        folder: see ACCEPTED.
        output: HTML file; None: report.html in the folder.

    Returns:
        Lines for a terminal: what is in the page, and where it lies.

    Raises:
        UserError: nothing in the folder can be reported, or the page cannot be written where it should.
    """
    study = read_study(folder)
    output = output or folder / PAGE
    if output.is_dir():
        raise UserError(f"--output={str(output)!r} is a folder; accepted: a file, such as report.html.")
    make_folder(output.parent)
    text = render_report(study)
    write_whole(output, text)
    cases = sum(len(arm.cases) for arm in study.arms)
    missing = f", {len(study.missing)} missing" if study.missing else ""
    size = len(text.encode()) / 1e6
    return f"{len(study.arms)} settings, {cases} results{missing}\nPage: {output} ({size:.1f} MB)"
