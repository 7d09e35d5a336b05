"""`write_report`: one self-contained HTML page of a run, a sweep, a reproduction or a demo.

The page makes no network request: images are data URIs and charts inline SVG. It can be read without its script, on a
phone, in a light or dark color scheme, and works with the keyboard alone.
"""

import os.path
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ..errors import UserError
from ..files import make_folder, write_whole
from ..metrics.names import network_title
from ..metrics.statistics import Estimate
from ..runs.trial import DIVERSITY, SKIPPED_KEYS, config_differences, versions
from .charts import format_estimate
from .gallery import make_gallery
from .readers import read_study
from .sections import Cell, Table, make_curves, make_trade_offs
from .study import SettingResult, Study, count, join_texts, seed_title

PAGE = "report.html"
IN_PAPER = {"clip": "clip_score"}  # metrics that the paper's numbers name otherwise
EXPLANATIONS = {  # of metrics that need one, by key
    "psnr": "PSNR is measured against the truth: where several answers fit, one may be right and yet far from it.",
    "psnr_of_mean": "The pixel-wise mean of the answers gains PSNR by hedging.",
    "residual": "Residual: root mean square error against the measurement.",
    "colors": "Colors: number of colors that a classifier finds among the particles; it took no part in the guidance.",
    "class_accuracy": "Class accuracy: share of the images in which that classifier sees the right object.",
    "view_accuracy": "View accuracy: share of renders whose predicted side (front, side, back) matches the camera.",
}
DEVIATION = "Deviation is twice the pixel-wise standard deviation of the answers: white is the largest there is."


def write_report(
    source: Path | Mapping[str, Path], output: Path | None = None, title: str = "", note: str = "", command: str = ""
) -> str:
    """Write the page of a folder, or of several runs side by side.

    Args:
        source: a folder (see `readers.ACCEPTED`), or trial folders by label: these runs alone, in this order.
        output: HTML file; None: report.html in the folder, or in the folder that holds the trial folders.
        title: heading; empty: the one that follows from the source.
        note: sentence under the heading.
        command: command line that made the results; empty: the one that the source records.

    Returns:
        Lines for a terminal: number of results, and path of the page.

    Raises:
        UserError: nothing in the source can be reported, or the page cannot be written.
    """
    study = read_study(source)
    study.title, study.note, study.command = title or study.title, note or study.note, command or study.command
    if output is None:
        folder = (
            source if isinstance(source, Path) else Path(os.path.commonpath([each.parent for each in source.values()]))
        )
        output = folder / PAGE
    if output.is_dir():
        raise UserError(f"--output={str(output)!r} is a folder; accepted: a file, such as report.html.")
    make_folder(output.parent)
    text = render_report(study)
    write_whole(output, text)
    cases = sum(len(setting.cases) for setting in study.settings)
    missing = f", {len(study.missing)} missing" if study.missing else ""
    size = len(text.encode()) / 1e6
    return f"{count(len(study.settings), 'setting')}, {count(cases, 'result')}{missing}\nPage: {output} ({size:.1f} MB)"


def render_report(study: Study) -> str:
    """HTML of the page."""
    here = Path(__file__).parent
    # The package may be linked into threestudio's custom/ under another name: templates are found beside this file.
    environment = Environment(
        loader=FileSystemLoader(here / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    static = {
        name: Markup((here / "static" / name).read_text(encoding="utf-8")) for name in ("report.css", "report.js")
    }
    return environment.get_template("page.html.j2").render(
        study=study,
        style=static["report.css"],
        script=static["report.js"],
        facts=_facts(study),
        images=make_gallery(study),
        trade_offs=make_trade_offs(study),
        numbers=_numbers(study),
        about_numbers=_about_numbers(study),
        curves=make_curves(study),
        differences=_differences(study),
        made_with=_made_with(study),
    )


@dataclass(frozen=True)
class Facts:
    """Opening of the page.

    Attributes:
        sentences: what is compared.
        origin: prior and dates.
        missing: cases without a result.
    """

    sentences: list[str]
    origin: str
    missing: list[str]

    @property
    def missing_title(self) -> str:
        """Number of the missing results."""
        return f"Missing: {count(len(self.missing), 'result')}"


def _facts(study: Study) -> Facts:
    prompts = len({prompt for prompt, _ in study.cases if prompt})
    seeds = len({seed for _, seed in study.cases if seed is not None})
    compared = join_texts(
        count(len(study.settings), "setting"),
        count(prompts, "prompt") if prompts else "",
        count(seeds, "seed") if seeds else "",
    )
    results = join_texts(
        count(sum(len(setting.cases) for setting in study.settings), "result"),
        f"{count(study.particles, 'particle')} each" if study.particles else "",
        count(study.steps, "step") if study.steps else "",
    )
    sentence = f"{compared}: {results}."
    held_out = [network_title(name) for name in study.networks if name != study.guide]
    if held_out:
        sentence += (
            f" Repulsion compares features of {network_title(study.guide)}; {' and '.join(held_out)} took no part."
        )
    sentences = [sentence, *study.remarks]
    if len({len(setting.cases) for setting in study.settings}) > 1:
        sentences.append("Settings have different numbers of results: part of what differs may be the prompts.")
    dates = [f"prior: {study.prior}"] if study.prior else []
    dates += [f"results of {_date(study.measured)}"] if study.measured else []
    dates.append(f"page written {_date(time.time())}")
    missing = [
        join_texts(each.setting, each.prompt, seed_title(each.seed)) + (f": {each.error}" if each.error else "")
        for each in study.missing
    ]
    return Facts(sentences, "; ".join(dates), missing)


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def _numbers(study: Study) -> Table:
    """Settings by metrics; the numbers of the paper stand after the metric that they belong to."""
    after = _paper_columns(study)
    table = Table("numbers", ["setting"], [[Cell(setting.label)] for setting in study.settings], "numbers")
    if any(len(setting.cases) != 1 for setting in study.settings):
        table.add_column("results", [Cell(str(len(setting.cases))) for setting in study.settings])
    for key, metric in study.metrics.items():
        arrow = {True: "\u00a0↑", False: "\u00a0↓", None: ""}[metric.higher_is_better]
        cells = [_cell(setting.figures.get(key), metric.digits) for setting in study.settings]
        table.add_column(metric.title + arrow, cells)
        for each in after.get(key, []):
            table.add_column("in the paper", _of_paper(study.settings, each))
    for each in after.get("", []):
        table.add_column(f"in the paper: {each}", _of_paper(study.settings, each))
    return table


def _paper_columns(study: Study) -> dict[str, list[str]]:
    """The paper's keys by the metric that they belong to; under "" those that were not measured here."""
    after: dict[str, list[str]] = {}
    for key in dict.fromkeys(key for setting in study.settings for key in setting.paper):
        ours = f"{DIVERSITY}{study.guide}" if key == "diversity" else IN_PAPER.get(key, key)
        after.setdefault(ours if ours in study.metrics else "", []).append(key)
    return after


def _cell(estimate: Estimate | None, digits: int) -> Cell:
    """Mean with its interval below it."""
    if estimate is None or estimate.mean != estimate.mean:
        return Cell("-")
    mean, _, interval = format_estimate(estimate, digits).partition(" ")
    return Cell(mean, interval)


def _of_paper(settings: Sequence[SettingResult], key: str) -> list[Cell]:
    return [Cell(f"{setting.paper[key]:g}" if key in setting.paper else "-") for setting in settings]


def _about_numbers(study: Study) -> str:
    sentences = []
    if any(estimate.interval for setting in study.settings for estimate in setting.figures.values()):
        sentences.append("Means; below them 95 % bootstrap intervals, where there are several results.")
    sentences.append("↑: more is better, ↓: less.")
    if study.networks:
        sentences.append(
            "Diversity is 1 minus the mean cosine similarity of the particles' features: 0 for N times the same image. "
            "The network that guided the repulsion flatters it; a held-out network took no part."
        )
    sentences += [text for key, text in EXPLANATIONS.items() if key in study.metrics]
    if any(case.restored for setting in study.settings for case in setting.cases):
        sentences.append(DEVIATION)
    if any(setting.paper for setting in study.settings):
        sentences.append("The paper's numbers are of other models and prompts: compare the order, not the size.")
    return " ".join(sentences)


def _differences(study: Study) -> Table:
    """Config keys in which the settings differ."""
    rows = [
        [Cell(key), *(Cell("-" if value is None else str(value)) for value in values)]
        for key, values in config_differences([setting.config for setting in study.settings]).items()
        if key not in SKIPPED_KEYS
    ]
    return Table("config differences", ["key", *(setting.label for setting in study.settings)], rows, "keys")


def _made_with(study: Study) -> str:
    """Versions of the libraries that made the results."""
    found = ", ".join(f"{name} {version}" for name, version in (study.versions or versions()).items())
    where = (
        "Made with" if study.versions else "The results do not record versions; those of the page's own environment:"
    )
    return f"{where} {found}."
