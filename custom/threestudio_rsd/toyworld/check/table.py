"""The table of `rsd toyworld check`: all rows, and how they are printed and stored."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...errors import UserError
from ...repulsion.features import load_features
from ..judge import ToyworldJudge
from ..sampling import draw_samples
from . import rows as measures
from .drawing import GUIDANCE_SCALES, Counts, Labeled, labeled_renders, prompts
from .probe import dino_rows
from .rows import CheckRow

PARTS = ("text-to-image", "dino", "clip", "judge")  # required folders; `pixel` and `flow` are optional
HELD_OUT_SEED, PROBE_SEED = 7_000_001, 7_000_002  # seeds of scenes; the trainings' seeds are below a million


def check(folder: Path, workers: int, counts: Counts | None = None) -> list[CheckRow]:
    """Measure the networks in a folder: all rows of the table.

    Args:
        folder: folder of the bundled world's networks.
        workers: number of processes.
        counts: numbers of samples and renders; None: the defaults, at most ten minutes on two cores.

    Raises:
        UserError: a network is missing or cannot be loaded.
    """
    counts = counts or Counts()
    missing = [part for part in PARTS if not (folder / part).is_dir()]
    if missing:
        raise UserError(
            f"--folder={str(folder)!r} lacks {', '.join(missing)}; accepted: a folder with {', '.join(PARTS)} in it."
        )
    judge = ToyworldJudge.from_folder(folder / "judge")
    dino: Any = load_features(str(folder / "dino"))
    held_out = labeled_renders(counts.held_out, HELD_OUT_SEED, workers)
    probe = labeled_renders(counts.probe, PROBE_SEED, workers)
    rows = [
        *measures.judge_rows(judge, held_out),
        *measures.autoencoder_rows(folder / "text-to-image" / "vae", held_out.images),
        *dino_rows(dino, probe, held_out),
        *measures.clip_rows(folder / "clip", held_out),
    ]
    asked = prompts(counts, pixel=(folder / "pixel").is_dir(), flow=(folder / "flow").is_dir())
    images = draw_samples({name: request for name, (request, _) in asked.items()}, folder, workers, counts.steps)
    samples = {name: Labeled(images[name], labels) for name, (_, labels) in asked.items()}
    open_samples = {scale: samples[f"open {scale:g}"] for scale in GUIDANCE_SCALES}
    rows += [
        *measures.class_rows(judge, open_samples[GUIDANCE_SCALES[-1]]),
        *measures.color_rows(judge, samples["colored"]),
        *measures.view_rows(judge, samples["viewed"]),
        *measures.diversity_rows(judge, {scale: open_samples[scale].images for scale in GUIDANCE_SCALES}),
        *measures.within_class_rows(judge, open_samples[GUIDANCE_SCALES[-1]]),
        *measures.truth_rows(judge, {scale: open_samples[scale].images for scale in GUIDANCE_SCALES}, probe, held_out),
    ]
    if "pixel" in samples:
        rows += measures.pixel_rows(judge, samples["pixel"])
    if "flow" in samples:
        rows += measures.flow_rows(judge, samples["flow"], samples["flow colored"], probe)
    return rows


def format_table(rows: Sequence[CheckRow]) -> str:
    """The table as text."""
    width = max(len(row.measure) for row in rows)
    lines = [f"{'measure':{width}}  {'needed':>9}  {'measured':>9}"]
    for row in rows:
        needed = "" if row.needed is None else row.show(row.needed)
        line = f"{row.measure:{width}}  {needed:>9}  {row.show(row.measured):>9}  {row.verdict}".rstrip()
        lines += [line, f"    {row.note}"] if row.note else [line]
    return "\n".join(lines)


def save_rows(rows: Sequence[CheckRow], file: Path, **facts: object) -> None:
    """Write the table as JSON.

    Args:
        rows: rows of the table.
        file: file to write; missing folders are made.
        **facts: further entries of the JSON object.
    """
    records = [asdict(row) | {"passed": row.passed, "verdict": row.verdict} for row in rows]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({**facts, "rows": records}, indent=2) + "\n")


def run_check(folder: Path, workers: int, output: Path | None) -> int:
    """Check the networks in a folder and print the table.

    Args:
        folder: folder of the bundled world's networks.
        workers: number of processes.
        output: JSON file of the table; None: none.

    Returns:
        Exit code: 1 if a row misses its needed value, else 0.
    """
    started = time.perf_counter()
    rows = check(folder, workers)
    seconds = time.perf_counter() - started
    missed = [row for row in rows if row.passed is False]
    print(format_table(rows))
    print(f"\n{len(missed)} of {sum(row.needed is not None for row in rows)} missed; {seconds:.0f} s")
    if output is not None:
        save_rows(rows, output, folder=str(folder), seconds=round(seconds), counts=asdict(Counts()))
    return 1 if missed else 0
