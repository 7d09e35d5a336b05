"""The page of `rsd demo inverse`: for each image the answers of every run, below each other."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from .page import (
    config_table,
    embedded_image,
    metrics_table,
    page_opening,
    render_document,
    scrolling,
    versions_section,
)
from .tables import format_number
from .trials import Trial

STYLE = """
.wide table.images{width:auto}
.images th,.images td{padding:.25rem;border:0;text-align:center;vertical-align:middle;white-space:normal}
.images tbody th{text-align:left;padding-left:.8rem;min-width:6.5rem}
.images img{width:clamp(64px,8vw,104px)}
figure+figure{margin-top:1rem}
"""
FORMS = {
    "PSNR": ("psnr", ".2f"),
    "PSNR of mean": ("psnr_of_mean", ".2f"),
    "residual": ("residual", ".4f"),
    "diversity, dino": ("diversity_dino", ".3f"),
    "diversity, clip": ("diversity_clip", ".3f"),
    "consistent": ("consistent", ".2f"),
    "colours": ("colours", ".2f"),
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
        "takes for the true class. Colours: how many it sees among the answers to one image.</p>",
        '<h2 id="config">What differs in the settings</h2>',
        scrolling(config_table(list(trials)), "settings that differ"),
        *versions_section("deepinv"),
    ]
    return render_document(title, parts, STYLE)


def _image_figure(name: str, caption: str, problem: Path, trials: Sequence[Trial]) -> str:
    """A table: measurement and truth to the left of all runs, which have a row each."""
    n = trials[0].metrics["n"]
    body = ""
    for index, trial in enumerate(trials):
        cells = f'<th scope="row">{escape(trial.label)}</th>'
        if index == 0:
            given = [f"{_image(problem / f'{what}.png', name, what)}" for what in ("measurement", "truth")]
            cells = "".join(f'<td rowspan="{len(trials)}">{image}</td>' for image in given) + cells
        for heading, file in zip(result_headings(n), result_files(trial.grid.parent / name, n), strict=True):
            cells += f"<td>{_image(file, name, f'{trial.label}, {heading}')}</td>"
        body += f"<tr>{cells}</tr>"
    head = "".join(f'<th scope="col">{text}</th>' for text in ("measurement", "truth", "run", *result_headings(n)))
    table = f'<table class="images"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f"<figure><figcaption>{escape(caption)}</figcaption>{scrolling(table, f'answers: {name}')}</figure>"


def _image(file: Path, name: str, what: str) -> str:
    return embedded_image(file, f"{name}: {what}")
