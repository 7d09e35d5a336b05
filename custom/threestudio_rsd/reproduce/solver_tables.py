"""`rsd reproduce` for the paper's inverse problems: solvers side by side, on renders that no training saw or a folder.

The paper's numbers are those of 100 faces (FFHQ, Stable Diffusion 1.5 at 512 pixels). On the bundled prior only the
order of the rows can be compared with them.
"""

import argparse
import json
import os
import shlex
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import UserError, require
from ..evaluation.inverse_instruments import REFERENCES, InverseInstruments
from ..files import make_folder, write_whole
from ..images import save_grid
from ..images.reading import list_images, read_image
from ..inverse import solve
from ..inverse.operators import OperatorConfig, build_operator, measure
from ..metrics.statistics import estimate
from ..priors import Prior, load_prior
from ..repulsion import load_features
from ..text_tables import format_figure, format_number, format_table
from ..toyworld.render import render_scenes
from ..toyworld.world import choose_scenes
from .definitions import BUNDLED, PAPER_PRIOR, list_experiments
from .inverse_rows import Comparison, Row, choose_rows, read_comparison

IMAGE_SEED = 60_000  # of renders; training did not use it
BATCH = 10  # images restored at once on a bundled prior; on a large one it is one
SHEET_IMAGES = 6  # of a contact sheet
HEADINGS = ("psnr", "ssim", "lpips", "diversity", "diversity_clip", "consistent", "colors")  # have intervals
FORMS = {"psnr": ".2f", "colors": ".2f", "consistent": ".2f"}
PAPER_HEADINGS = ("psnr", "lpips", "frechet", "diversity")
UNFINISHED = "unfinished"  # folder of answers whose row is not finished


@dataclass
class Task:
    """What all rows restore.

    Attributes:
        operator: of the measurement.
        images: truth, (M, 3, H, W) in [0, 1].
        classes: (M,), of renders; None: images of a folder.
        folder: the images' folder; None: renders.
        n: answers to each.
        steps: of rows that do not name their own.
        seed: of particles and noise.
    """

    operator: OperatorConfig
    images: Tensor
    classes: Tensor | None
    folder: Path | None
    n: int
    steps: int
    seed: int

    def made_with(self, row: Row) -> dict[str, Any]:
        """All that the results of a row follow from."""
        made_with = {"settings": row.settings, "prior": row.prior, "images": len(self.images), "n_particles": self.n}
        made_with |= {"steps": self.steps, "seed": self.seed, "operator": asdict(self.operator)}
        return made_with if self.folder is None else made_with | {"folder": str(self.folder.resolve())}


def run(name: str, argv: Sequence[str]) -> Path:
    """Run a comparison: a table on the terminal, `NAME/table.json`, and a contact sheet for each solver.

    What an earlier call has finished, for this or another comparison in the same output folder, is read, not run again.

    Raises:
        UserError: an impossible argument, deepinv is missing, or a folder of results that were made otherwise.
    """
    comparison = read_comparison(name)
    args = _parser(name, comparison).parse_args(argv)
    _check(args)
    require("deepinv", "inverse")
    model = comparison.prior if args.prior == PAPER_PRIOR else args.prior
    rows, left_out = choose_rows(comparison, model)
    if args.quick:  # few steps for those too that name their own
        rows = [replace(row, settings={k: v for k, v in row.settings.items() if k != "n_steps"}) for row in rows]
    priors = {each: load_prior(each, device=args.device) for each in {row.prior for row in rows}}
    prior = priors[model]
    if not prior.is_latent:
        raise UserError(
            f"--prior={args.prior!r} has no decoder; accepted: {BUNDLED} or another latent diffusion model."
        )
    task = _make_task(comparison, args, prior.image_size)
    instruments = InverseInstruments(task.images, task.classes, prior.is_bundled, args.device)
    repels = any(row.settings.get("gamma") for row in rows)
    features = load_features("dino", prior.is_bundled, args.device) if repels else "euclidean"
    folder = args.output / (f"{name}-quick" if args.quick else name)
    make_folder(folder)
    files = {row.label: folder / f"{_file_name(row.label)}.json" for row in rows}
    for row in rows:
        _take_over(task.made_with(row), files[row.label], args.output)
    for number, row in enumerate(rows, start=1):
        if not files[row.label].is_file():
            print(f"[{number}/{len(rows)}] {row.label}", flush=True)
            _restore(row, task, priors[row.prior], features, instruments, files[row.label])
    results = {label: json.loads(file.read_text()) for label, file in files.items()}
    record = {
        "title": comparison.title,
        "claim": comparison.claim,
        "command": shlex.join(["rsd", "reproduce", name, *argv]),
        "floor_frechet": instruments.floor(len(task.images) * task.n),
        "rows": {
            row.label: {**results[row.label], "paper": row.paper, "sheet": files[row.label].with_suffix(".png").name}
            for row in rows
        },
    }
    write_whole(folder / "table.json", json.dumps(record, indent=1) + "\n")
    print(f"\n{comparison.title}; {len(task.images)} images, {task.n} answers each, {task.steps} steps\n")
    print(format_table(*_table(rows, results)))
    print("\nIn brackets: 95 % bootstrap intervals.")
    if record["floor_frechet"] is not None:
        print(f"Frechet distance to {REFERENCES} renders; of as many renders it is {record['floor_frechet']:.1f}.")
    elif any(result["frechet"] is not None for result in results.values()):
        print("Frechet distance to the images themselves, in Inception's features.")
    if left_out:
        print(
            f"Left out: {', '.join(row.label for row in left_out)}: they solve in pixel space and need a prior of "
            f"pixels, which {model!r} is not. --prior {BUNDLED} has both kinds."
        )
    print(f"The paper: {comparison.claim}")
    return folder


def _check(args: argparse.Namespace) -> None:
    """Raise UserError for an impossible argument."""
    for key in ("n", "steps"):
        value = getattr(args, key)
        if value is not None and value < 1:
            raise UserError(f"--{key}={value} is impossible; accepted: an integer of at least 1.")
    if args.seed < 0:
        raise UserError(f"--seed={args.seed} is impossible; accepted: an integer of at least 0.")
    if args.images is not None and _is_count(args.images) and int(args.images) < 1:
        raise UserError(f"--images={args.images} is impossible; accepted: an integer of at least 1, or a folder.")
    if args.prior != BUNDLED and _is_count(args.images):
        raise UserError(
            f"--prior={args.prior!r} needs --images FOLDER: it knows nothing of the bundled renders, and the paper's "
            "faces (FFHQ) do not ship."
        )


def _make_task(comparison: Comparison, args: argparse.Namespace, image_size: int) -> Task:
    settings, count = dict(comparison.settings), None
    for scope in ([comparison.bundled] if args.prior == BUNDLED else []) + ([comparison.quick] if args.quick else []):
        settings |= scope.settings
        count = scope.images
    n, steps = args.n or settings["n_particles"], args.steps or settings["n_steps"]
    if _is_count(args.images):
        scene = choose_scenes(int(args.images or count or 0), IMAGE_SEED)
        return Task(comparison.operator, render_scenes(scene), scene.object_class, None, n, steps, args.seed)
    files = list_images(args.images, "--images")[: comparison.quick.images if args.quick else None]
    images = torch.stack([read_image(file, image_size, "--images") for file in files])
    return Task(comparison.operator, images, None, Path(args.images), n, steps, args.seed)


def _is_count(images: str | None) -> bool:
    """Whether --images asks for renders."""
    return images is None or images.isdigit()


def _take_over(made_with: dict[str, Any], file: Path, output: Path) -> None:
    """Copy results and sheet of a row from a comparison in the same output folder that has done the same work.

    Raises:
        UserError: there are results already, which were made otherwise.
    """
    if file.is_file():
        if json.loads(file.read_text())["made_with"] != made_with:
            raise UserError(f"{str(file)!r} was made with other settings; choose another --output or remove it.")
        return
    for other in (each for name in list_experiments() for each in sorted((output / name).glob("*.json"))):
        sheet = other.with_suffix(".png")  # no other JSON file has one
        if sheet.is_file() and json.loads(other.read_text())["made_with"] == made_with:
            shutil.copyfile(sheet, file.with_suffix(".png"))
            write_whole(file, other.read_text())
            return


def _restore(row: Row, task: Task, prior: Prior, features: Any, instruments: InverseInstruments, file: Path) -> None:
    """Restore and measure; write the results to `file` and the contact sheet beside it."""
    values: dict[str, list[float]] = {}
    embedded, shown, seconds, first = [], [], 0.0, 0
    kept = file.parent / UNFINISHED
    make_folder(kept)
    for answers, spent in _solve(row, task, prior, features, kept):
        part = slice(first, first + len(answers))
        classes = None if task.classes is None else task.classes[part]
        for key, numbers in instruments.measure(answers, task.images[part], classes).items():
            values.setdefault(key, []).extend(numbers)
        embedded.append(instruments.embed(answers.flatten(0, 1)))
        if first < SHEET_IMAGES:
            shown.append(answers)
        seconds += spent
        first += len(answers)
    result = {
        "made_with": task.made_with(row),
        "seconds_per_step_and_image": seconds / (row.settings.get("n_steps", task.steps) * len(task.images)),
        "values": values,
        "frechet": instruments.frechet(torch.cat(embedded)),
    }
    save_grid(_sheet(torch.cat(shown), task.images), file.with_suffix(".png"), columns=1 + task.n)
    write_whole(file, json.dumps(result, indent=1) + "\n")
    shutil.rmtree(kept)


def _solve(row: Row, task: Task, prior: Prior, features: Any, kept: Path) -> Iterator[tuple[Tensor, float]]:
    """Answers (B, N, 3, H, W) and seconds of each batch.

    On a large prior a row takes a day: batches that an earlier call has finished are read from the folder `kept`.
    """
    physics = build_operator(task.operator, (3, prior.image_size, prior.image_size), prior.device)
    made_with = json.dumps(task.made_with(row), sort_keys=True)
    batch = BATCH if prior.is_bundled else 1
    for first in range(0, len(task.images), batch):
        file = kept / f"{first:04d}.safetensors"
        if file.is_file():
            with safe_open(file, "pt") as opened:
                about, answers = opened.metadata(), opened.get_tensor("answers")
            if about["made_with"] == made_with:
                yield answers, float(about["seconds"])
                continue
        y = measure(physics, task.images[first : first + batch].to(prior.device), task.operator, first)
        started = time.perf_counter()
        # Each batch has its own seed: within a run the noise follows from the image's place in the batch.
        settings = {"n_steps": task.steps, **row.settings, "n_particles": task.n, "seed": task.seed + first}
        answers = solve(y, physics, prior, features=features, **settings).reconstructions.contiguous()
        seconds = time.perf_counter() - started
        save_file({"answers": answers}, file.with_suffix(".part"), {"made_with": made_with, "seconds": str(seconds)})
        os.replace(file.with_suffix(".part"), file)
        yield answers, seconds


def _table(rows: Sequence[Row], results: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows."""
    keys = [key for key in HEADINGS if key in next(iter(results.values()))["values"]]
    cells_of_rows = []
    for row in rows:
        result = results[row.label]
        cells = [row.label]
        for key in keys:
            figure = estimate(result["values"][key]).record()
            cells.append(format_figure(figure, FORMS.get(key, ".3f")))
        cells += [format_number(result["frechet"], ".1f"), f"{1000 * result['seconds_per_step_and_image']:.0f}"]
        cells.append(" / ".join(format_number(row.paper.get(key), "g") for key in PAPER_HEADINGS))
        cells_of_rows.append(cells)
    return ["solver", *keys, "frechet", "ms/step", "paper: psnr / lpips / fid / diversity"], cells_of_rows


def _sheet(answers: Tensor, images: Tensor) -> Tensor:
    """A row of truth and answers for each of the first images."""
    rows = torch.cat([images[:SHEET_IMAGES, None], answers[:SHEET_IMAGES]], 1)
    return rows.flatten(0, 1).clamp(0, 1)


def _file_name(label: str) -> str:
    return label.lower().replace(",", "").replace(" ", "-")


def _parser(name: str, comparison: Comparison) -> argparse.ArgumentParser:
    bundled, usual = comparison.bundled, comparison.settings
    n, steps = bundled.settings["n_particles"], bundled.settings["n_steps"]
    parser = argparse.ArgumentParser(
        prog=f"rsd reproduce {name}",
        description=comparison.title,
        epilog="The same command again goes on with what is not finished; comparisons in one output folder share rows.",
    )
    parser.add_argument(
        "--prior",
        default=BUNDLED,
        help=f"{BUNDLED} (default), {PAPER_PRIOR} ({comparison.prior}, on a GPU), a Stable Diffusion id or a folder; "
        f"all but {BUNDLED} run with the paper's settings",
    )
    parser.add_argument(
        "--images",
        help=f"how many renders to restore (default: {bundled.images}), or a folder of images, squared and resized",
    )
    parser.add_argument(
        "--n", type=int, help=f"answers to each (default: {n}; on another prior {usual['n_particles']})"
    )
    parser.add_argument(
        "--steps",
        type=int,
        help=f"of every solver but those that name their own (default: {steps}; on another prior {usual['n_steps']})",
    )
    parser.add_argument("--quick", action="store_true", help="two images, few steps: whether it runs")
    parser.add_argument("--seed", type=int, default=0, help="of particles and noise (default: 0)")
    parser.add_argument("--output", type=Path, default=Path("outputs/reproduce"), help="default: outputs/reproduce")
    parser.add_argument(
        "--device",
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="where the networks run (default: cuda where there is one)",
    )
    return parser
