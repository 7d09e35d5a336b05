"""The page of `rsd demo inverse`: for each image the answers of every run, below each other."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from ..runs.trial import Trial
from ..text_tables import format_number
from .html import (
    config_table,
    embedded_image,
    metrics_table,
    page_opening,
    render_document,
    scrolling,
    versions_section,
)

STYLE = """
.pair{display:flex;flex-wrap:wrap;gap:.5rem 1.5rem;align-items:center}
.pair .wide{min-width:0}
.given{display:flex;gap:.5rem;text-align:center;color:var(--soft)}
.wide table.images{width:auto}
.images th,.images td{padding:.2rem;border:0;text-align:center;vertical-align:middle;white-space:normal}
.images thead th{font-weight:400;font-size:.85em}
.images tbody th{text-align:left;min-width:4.2rem}
.given img,.images img{width:clamp(60px,8vw,100px);margin:0 auto}
figure+figure{margin-top:1rem}
"""
GIVEN = ("measurement", "truth")
FORMS = {
    "PSNR": ("psnr", ".2f"),
    "PSNR of mean": ("psnr_of_mean", ".2f"),
    "residual": ("residual", ".4f"),
    "diversity, dino": ("diversity_dino", ".3f"),
    "diversity, clip": ("diversity_clip", ".3f"),
    "consistent": ("consistent", ".2f"),
    "colors": ("colors", ".2f"),
}


def result_headings(n: int) -> list[str]:
    """What a run shows for each image: n answers, and two images of them all."""
    return [*(f"answer {index + 1}" for index in range(n)), "mean", "deviation"]


def result_files(folder: Path, n: int) -> list[Path]:
    """The images under `result_headings`, in the folder of one image of one run."""
    return [
        *(folder / f"particle_{index:02d}.png" for index in range(n)),
        folder / "mean.png",
        folder / "deviation.png",
    ]


def figures_rows(trials: Sequence[Trial]) -> tuple[list[str], list[list[str]]]:
    """Headings and one row of printable figures per run, label first."""
    rows = []
    for trial in trials:
        figures = [format_number(trial.metrics["mean"][key], form) for key, form in FORMS.values()]
        rows.append([trial.label, *figures, format_number(trial.metrics["seconds_per_step"], ".2f")])
    return ["run", *FORMS, "seconds per step"], rows


def render_page(
    title: str, note: str, command: str, captions: Mapping[str, str], problem: Path, trials: Sequence[Trial]
) -> str:
    """The page as HTML.

    Args:
        title: heading.
        note: a sentence under the heading.
        command: what the user typed.
        captions: what each image shows, by its name.
        problem: folder with measurement.png and truth.png in a folder for each image.
        trials: runs, in order; beside the contact sheet of each lie its `result_files`, in a folder for each image.
    """
    parts = [
        *page_opening(title, note, command),
        *(_image_figure(name, caption, problem / name, trials) for name, caption in captions.items()),
        "<p>Deviation is twice the pixel-wise standard deviation of the answers: white is the largest there is.</p>",
        '<h2 id="figures">Figures</h2>',
        scrolling(metrics_table(*figures_rows(trials)), "figures"),
        "<p>Means over the images. PSNR against the truth, in dB: of the answers, and of their mean, which gains by "
        "hedging; where several answers fit, one may be right and yet far from the truth. Residual: root mean square "
        "error over the pixels that are seen. Diversity is 1 minus the mean cosine similarity of the answers' "
        "features; repulsion acts in dino, clip took no part. Consistent: share of the answers that a classifier "
        "takes for the true class. Colors: how many it sees among the answers to one image.</p>",
        '<h2 id="config">What differs in the settings</h2>',
        scrolling(config_table(list(trials)), "settings that differ"),
        *versions_section("deepinv"),
    ]
    return render_document(title, parts, STYLE)


def _image_figure(name: str, caption: str, problem: Path, trials: Sequence[Trial]) -> str:
    """Measurement and truth, and beside them (below, on a narrow screen) a row for each run."""
    n = trials[0].metrics["n_particles"]
    given = "".join(f"<div>{_image(problem / f'{what}.png', name, what)}{what}</div>" for what in GIVEN)
    head = "".join(f'<th scope="col">{text}</th>' for text in ("run", *result_headings(n)))
    body = ""
    for trial in trials:
        cells = "".join(
            f"<td>{_image(file, name, f'{trial.label}, {heading}')}</td>"
            for heading, file in zip(result_headings(n), result_files(trial.grid.parent / name, n), strict=True)
        )
        body += f'<tr><th scope="row">{escape(trial.label)}</th>{cells}</tr>'
    table = f'<table class="images"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return (
        f'<figure><figcaption>{escape(caption)}</figcaption><div class="pair"><div class="given">{given}</div>'
        f"{scrolling(table, f'answers: {name}')}</div></figure>"
    )


def _image(file: Path, name: str, what: str) -> str:
    return embedded_image(file, f"{name}: {what}")
