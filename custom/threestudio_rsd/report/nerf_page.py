"""The page of `rsd demo 3d`: contact sheets, turntables and figures of text-to-3D runs."""

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

from ..runs.trial import Trial
from ..text_tables import format_number
from .html import (
    config_table,
    draw_chart,
    embedded_image,
    metrics_table,
    page_opening,
    render_document,
    scrolling,
    versions_section,
)

STYLE = """
figure+figure{margin-top:1rem}
video{display:block;width:100%;border-radius:4px}
"""


def turntable(trial: Trial) -> Path:
    """The video of all particles that a run left beside its contact sheet."""
    return trial.grid.with_name(trial.grid.name.replace("-sheet.png", ".mp4"))


def figures_rows(trials: Sequence[Trial]) -> tuple[list[str], list[list[str]]]:
    """Headings and one row of printable figures per run, label first."""
    networks = list(dict.fromkeys(name for trial in trials for name in trial.metrics.get("diversity", {})))
    headings = [
        "run",
        "colors",
        "class accuracy",
        "view accuracy",
        *(f"diversity, {name}" for name in networks),
        "seconds per step",
    ]
    rows = []
    for trial in trials:
        metrics = trial.metrics
        row = [trial.label, format_number(metrics.get("colors"), "d")]
        row += [format_number(metrics.get(name), ".2f") for name in ("class_accuracy", "view_accuracy")]
        row += [format_number(metrics.get("diversity", {}).get(name), ".3f") for name in networks]
        rows.append([*row, format_number(metrics.get("seconds_per_step"), ".2f")])
    return headings, rows


def render_page(title: str, note: str, command: str, trials: Sequence[Trial]) -> str:
    """The page as HTML.

    Args:
        title: heading.
        note: a sentence under the heading.
        command: what the user typed.
        trials: runs, in order; `grid` is the contact sheet, a row of views for each particle.
    """
    networks = list(dict.fromkeys(name for trial in trials for name in trial.curves))
    charts = "".join(f"<figure>{draw_chart(name, trials)}</figure>" for name in networks)
    parts = [
        *page_opening(title, note, command),
        *(_figure(trial) for trial in trials),
        '<h2 id="figures">Figures</h2>',
        scrolling(metrics_table(*figures_rows(trials)), "figures"),
        "<p>Of the views of the contact sheets. Colors: how many the objects have, by a classifier that took no part "
        "in the guidance. Class accuracy: share of the views in which it sees what the prompt names. View accuracy: "
        "share of the views whose face (front, side, back) it finds where the camera is. Diversity: 1 minus the mean "
        "cosine similarity of the objects' features from the same camera; repulsion acts in dino.</p>",
        '<h2 id="curves">Diversity over the steps</h2>' if charts else "",
        f'<div class="side">{charts}</div>' if charts else "",
        '<h2 id="config">What differs in the configs</h2>',
        scrolling(config_table(list(trials)), "config differences"),
        *versions_section(),
    ]
    return render_document(title, parts, STYLE)


def _figure(trial: Trial) -> str:
    n, views = trial.metrics.get("n_particles", "?"), trial.metrics.get("views", "?")
    about = f"{n} objects, one a row, from {views} sides"
    film = turntable(trial)
    shown = ""
    if film.is_file():
        data = base64.b64encode(film.read_bytes()).decode()
        spoken = escape(f"{trial.label}: turntable of all objects")
        shown = (
            f'<video controls loop muted playsinline aria-label="{spoken}" src="data:video/mp4;base64,{data}"></video>'
        )
    return (
        f"<figure><figcaption>{escape(trial.label)}<small>{escape(about)}</small></figcaption>"
        f"{embedded_image(trial.grid, f'{trial.label}: {about}')}{shown}</figure>"
    )
