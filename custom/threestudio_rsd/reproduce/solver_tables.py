"""`rsd reproduce` for the paper's inverse problems: solvers compared on renders of the bundled world or on a folder.

The paper's numbers are those of 100 faces (FFHQ, Stable Diffusion 1.5 at 512 pixels). On the bundled prior only the
order of the rows can be compared with them.
"""

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError, in_range, require
from ..evaluation.image_sets import Group, ImageSet
from ..evaluation.instruments import Instruments, Options
from ..files import make_folder, write_json, write_whole
from ..images import save_grid
from ..images.reading import list_images, read_image
from ..inverse import solve
from ..inverse.operators import OperatorConfig, build_operator, measure
from ..priors import Prior, load_prior
from ..repulsion import load_features
from ..tensor_files import read_tensors, write_tensors
from ..text_tables import format_table
from ..toyworld.render import render_scenes
from ..toyworld.world import CLASSES, choose_scenes
from .definitions import SolverRow, SolverTable, read_solver_table, rows_of
from .experiment_files import BUNDLED, PAPER_PRIOR, list_experiments, list_studies
from .solver_table_text import KEYS, remarks, table_cells

# Seeds of renders; training used none of them.
IMAGE_SEED = 60_000  # restored images
FLOOR_SEED = 60_001  # renders whose Frechet distance is the floor
REFERENCE_SEED = 70_000  # reference of the Frechet distance
REFERENCES = 1000  # renders in the reference
BATCH = 10  # images restored at once on a bundled prior; on a large one it is one
SHEET_IMAGES = 6  # images on a contact sheet
UNFINISHED = "unfinished"  # folder of answers whose row is not finished


@dataclass
class RestorationTask:
    """Images that all rows of a table restore, and how.

    Attributes:
        operator: forward operator and noise of the measurements.
        images: truth, (M, 3, H, W) in [0, 1].
        classes: class of each render, (M,); None: images of a folder.
        folder: folder of the images; None: renders.
        n_particles: number of answers to each image.
        steps: number of steps of rows that do not set their own.
        seed: seed of particles and noise.
    """

    operator: OperatorConfig
    images: Tensor
    classes: Tensor | None
    folder: Path | None
    n_particles: int
    steps: int
    seed: int

    def made_with(self, row: SolverRow) -> dict[str, Any]:
        """All settings that the results of a row depend on.

        Args:
            row: solver and its settings.
        """
        made_with = {"settings": row.settings, "prior": row.prior, "images": len(self.images)}
        made_with |= {"n_particles": self.n_particles, "steps": self.steps, "seed": self.seed}
        made_with |= {"operator": asdict(self.operator)}
        return made_with if self.folder is None else made_with | {"folder": str(self.folder.resolve())}

    def instruments(self, is_bundled: bool, device: str) -> Instruments:
        """Instruments of the answers.

        Renders are measured by the bundled world's judge, and compared with other renders in its features. Images of a
        folder have no known class, and are compared with the images themselves in Inception's features (FID).

        Args:
            is_bundled: whether the bundled world's networks measure diversity.
            device: device of the networks.
        """
        metrics = ["diversity", "psnr", "ssim", "lpips", "frechet"]
        if self.classes is None:
            reference, network = self.images, "inception"
        else:
            reference, network = render_scenes(choose_scenes(REFERENCES, REFERENCE_SEED)), "judge"
            metrics.append("truth")
        return Instruments(
            Options(
                metrics, reference=list(reference), reference_features=network, is_bundled=is_bundled, device=device
            )
        )


def run(
    name: str,
    *,
    rows: Sequence[str] | None = None,
    prior: str = BUNDLED,
    images: str | None = None,
    n_particles: int | None = None,
    steps: int | None = None,
    seed: int = 0,
    quick: bool = False,
    output: Path,
    device: str = "cpu",
    command: str,
) -> Path:
    """Run a solver table: print it, and write `NAME/table.json` and a contact sheet for each solver.

    Rows that an earlier call has finished, for this or another table in the same output folder, are not run again.

    Args:
        name: figure or table of kind `inverse`, such as `table1`.
        rows: labels of the rows to make; None: all.
        prior: `bundled`, `paper` (the table's own), a hub id or a folder.
        images: number of renders, or folder of images; None: the table's number of renders.
        n_particles: number of answers to each image; None: the table's.
        steps: number of steps of the solvers that do not set their own; None: the table's.
        seed: seed of particles and noise.
        quick: two images and few steps.
        output: folder of all tables; the results go to OUTPUT/NAME or OUTPUT/NAME-quick.
        device: device of all networks.
        command: command line of the user, kept in table.json.

    Returns:
        Folder of the results.

    Raises:
        UserError: an impossible argument, deepinv is not installed, or the folder has results of other settings.
    """
    table = read_solver_table(name)
    table = replace(table, rows=rows_of(rows, table.rows))
    _check(prior, images, n_particles, steps, seed)
    require("deepinv", "inverse")
    model = table.prior if prior == PAPER_PRIOR else prior
    chosen, left_out = table.choose_rows(model)
    if quick:  # few steps also for rows that set their own number
        chosen = [replace(row, settings={k: v for k, v in row.settings.items() if k != "n_steps"}) for row in chosen]
    priors = {each: load_prior(each, device=device) for each in {model, *(row.prior for row in chosen)}}
    if not priors[model].is_latent:
        raise UserError(f"--prior={prior!r} has no decoder; accepted: {BUNDLED} or another latent diffusion model.")
    task = _make_task(table, prior, images, quick, priors[model].image_size, seed)
    task = replace(task, n_particles=n_particles or task.n_particles, steps=steps or task.steps)
    instruments = task.instruments(priors[model].is_bundled, device)
    repels = any(row.settings.get("gamma") for row in chosen)
    features = load_features("dino", priors[model].is_bundled, device) if repels else "euclidean"
    folder = output / (f"{name}-quick" if quick else name)
    make_folder(folder)
    files = {row.label: folder / f"{_file_name(row.label)}.json" for row in chosen}
    for row in chosen:
        _take_over(task.made_with(row), files[row.label], output)
    for number, row in enumerate(chosen, start=1):
        if not files[row.label].is_file():
            print(f"[{number}/{len(chosen)}] {row.label}", flush=True)
            _restore(row, task, priors[row.prior], features, instruments, files[row.label])
    results = {label: json.loads(file.read_text()) for label, file in files.items()}
    record = {
        "title": table.title,
        "claim": table.claim,
        "command": command,
        **_frechet_bounds(task, instruments),
        "rows": {
            row.label: {**results[row.label], "paper": row.paper, "sheet": files[row.label].with_suffix(".png").name}
            for row in chosen
        },
    }
    write_json(folder / "table.json", record)
    print(f"\n{table.title}; {len(task.images)} images, {task.n_particles} answers each, {task.steps} steps\n")
    print(format_table(*table_cells(chosen, results)))
    print("\n".join(["\nIn brackets: 95 % bootstrap intervals.", *remarks(record, REFERENCES, instruments.left_out)]))
    if left_out:
        print(
            f"Left out: {', '.join(row.label for row in left_out)}: they solve in pixel space and need a pixel prior; "
            f"{model!r} is a latent one. --prior {BUNDLED} has both kinds."
        )
    print(f"The paper: {table.claim}")
    return folder


def _check(prior: str, images: str | None, n_particles: int | None, steps: int | None, seed: int) -> None:
    """Raise UserError for an impossible argument."""
    for key, value in (("--n-particles", n_particles), ("--steps", steps)):
        if value is not None:
            in_range(key, value, 1)
    in_range("--seed", seed, 0)
    if images is not None and _is_count(images):
        in_range("--images", int(images), 1, kind="a folder, or an integer")
    if prior != BUNDLED and _is_count(images):
        raise UserError(
            f"--prior={prior!r} needs --images FOLDER: the prior does not know the bundled renders, and the paper's "
            "faces (FFHQ) do not ship."
        )


def _make_task(
    table: SolverTable, prior: str, images: str | None, quick: bool, image_size: int, seed: int
) -> RestorationTask:
    settings, count = dict(table.settings), None
    for variant in ([table.bundled] if prior == BUNDLED else []) + ([table.quick] if quick else []):
        settings |= variant.settings
        count = variant.images
    common = {"n_particles": settings["n_particles"], "steps": settings["n_steps"], "seed": seed}
    if images is None or _is_count(images):
        scene = choose_scenes(int(images or count or 0), IMAGE_SEED)
        return RestorationTask(table.operator, render_scenes(scene), scene.object_class, None, **common)
    files = list_images(images, "--images")[: table.quick.images if quick else None]
    read = torch.stack([read_image(file, image_size, "--images") for file in files])
    return RestorationTask(table.operator, read, None, Path(images), **common)


def _is_count(images: str | None) -> bool:
    """Whether --images asks for renders."""
    return images is None or images.isdigit()


def _take_over(made_with: dict[str, Any], file: Path, output: Path) -> None:
    """Copy the results and sheet of a row from another table in the same output folder, if it did the same work.

    Raises:
        UserError: the row has results that were made with other settings.
    """
    if file.is_file():
        if json.loads(file.read_text())["made_with"] != made_with:
            raise UserError(f"{str(file)!r} was made with other settings; choose another --output or remove it.")
        return
    names = (*list_experiments(), *list_studies())
    for other in (each for name in names for each in sorted((output / name).glob("*.json"))):
        sheet = other.with_suffix(".png")  # no other JSON file has one
        if sheet.is_file() and json.loads(other.read_text())["made_with"] == made_with:
            shutil.copyfile(sheet, file.with_suffix(".png"))
            write_whole(file, other.read_text())
            return


def _restore(
    row: SolverRow, task: RestorationTask, prior: Prior, features: Any, instruments: Instruments, file: Path
) -> None:
    """Restore and measure; write the results to `file` and the contact sheet beside it."""
    kept = file.parent / UNFINISHED
    make_folder(kept)
    batches, seconds = zip(*_solve(row, task, prior, features, kept), strict=True)
    answers = torch.cat(batches)
    found = instruments.measure(_image_set(row.label, answers, task))
    result = {
        "made_with": task.made_with(row),
        "seconds_per_step_and_image": sum(seconds) / (row.settings.get("n_steps", task.steps) * len(task.images)),
        "values": {key: found[key].values for key in KEYS if key in found},
        "frechet": found["frechet"].mean if "frechet" in found else None,
    }
    save_grid(_sheet(answers, task.images), file.with_suffix(".png"), columns=1 + task.n_particles)
    write_json(file, result)
    shutil.rmtree(kept)


def _image_set(label: str, answers: Tensor, task: RestorationTask) -> ImageSet:
    """Answers (M, N, 3, H, W) in one group for each image, with its truth and the name of its class."""
    classes = [None] * len(task.images) if task.classes is None else task.classes.tolist()
    groups = [
        Group(list(each), None if index is None else CLASSES[index], [truth] * len(each), one_measurement=True)
        for each, truth, index in zip(answers, task.images, classes, strict=True)
    ]
    return ImageSet(label, groups)


def _frechet_bounds(task: RestorationTask, instruments: Instruments) -> dict[str, float | None]:
    """Frechet distances to compare those of the solvers with; None for images of a folder.

    Returns:
        `floor_frechet`, of as many different renders as there are answers, which no method beats but by chance;
        `truth_frechet`, of the true images, each as often as it is answered: larger, because there are fewer of them.
        Answers that differ from the truth can have less.
    """
    if task.classes is None:
        return {"floor_frechet": None, "truth_frechet": None}
    count = max(len(task.images) * task.n_particles, 2)
    alone = Instruments(replace(instruments.options, metrics=["frechet"]))

    def distance(images: Tensor) -> float:
        return alone.measure(ImageSet("renders", [Group(list(images))]))["frechet"].mean

    truth = task.images.repeat_interleave(max(task.n_particles, 2), dim=0)
    return {
        "floor_frechet": distance(render_scenes(choose_scenes(count, FLOOR_SEED))),
        "truth_frechet": distance(truth),
    }


def _solve(
    row: SolverRow, task: RestorationTask, prior: Prior, features: Any, kept: Path
) -> Iterator[tuple[Tensor, float]]:
    """Answers (B, N, 3, H, W) and seconds of each batch.

    A row takes a day on a large prior: finished batches of an earlier call are read from the folder `kept`.
    """
    physics = build_operator(task.operator, (3, prior.image_size, prior.image_size), prior.device)
    made_with = json.dumps(task.made_with(row), sort_keys=True)
    batch = BATCH if prior.is_bundled else 1
    for first in range(0, len(task.images), batch):
        file = kept / f"{first:04d}.safetensors"
        if found := read_tensors(file, made_with):
            tensors, facts = found
            yield tensors["answers"], float(facts["seconds"])
            continue
        y = measure(physics, task.images[first : first + batch].to(prior.device), task.operator, first)
        started = time.perf_counter()
        # Each batch has its own seed, since the solver's noise depends only on the place of an image in the batch.
        settings = {"n_steps": task.steps, **row.settings, "n_particles": task.n_particles, "seed": task.seed + first}
        settings["measurement_deviation"] = task.operator.sigma
        answers = solve(y, physics, prior, features=features, **settings).reconstructions.contiguous()
        seconds = time.perf_counter() - started
        write_tensors(file, {"answers": answers}, made_with, seconds=str(seconds))
        yield answers, seconds


def _sheet(answers: Tensor, images: Tensor) -> Tensor:
    """Grid with a row for each of the first images: truth and answers."""
    rows = torch.cat([images[:SHEET_IMAGES, None], answers[:SHEET_IMAGES]], 1)
    return rows.flatten(0, 1).clamp(0, 1)


def _file_name(label: str) -> str:
    return label.lower().replace(",", "").replace(" ", "-")
