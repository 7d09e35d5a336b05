"""`rsd reproduce table1|table7|table8`: solvers side by side on renders that no training saw.

The paper's numbers are those of 100 faces (FFHQ, Stable Diffusion 1.5 at 512 pixels), ours those of the bundled prior:
only the order of the rows can be compared.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError, require
from ..inverse import solve
from ..inverse.operators import OperatorConfig, build_operator, measure
from ..metrics import ToyworldJudge, diversity, frechet_distance, load_lpips, reconstruction_metrics
from ..particles import save_grid
from ..priors import load_prior
from ..repulsion import load_features
from ..toyworld.pictures import choose_scenes
from ..toyworld.render import render_scenes
from .folders import make_folder
from .intervals import bootstrap_interval
from .page import write_whole
from .tables import format_number, format_table

IMAGE_SEED, REFERENCE_SEED = 60_000, 70_000  # of renders; training used neither
REFERENCES = 1000  # renders that the Frechet distance is measured to
BATCH = 10  # images restored at once
SHEET_IMAGES = 6  # of a contact sheet
OURS: dict[str, Any] = {
    "x_step": "closed-form",
    "kernel_input": "clean",
    "lr_z": 0.15,
}  # see configs/inverse/half-box.yaml


@dataclass
class Row:
    """One solver with its settings.

    Attributes:
        label: for people.
        settings: fields of SolverConfig.
        prior: name for `load_prior`.
        paper: its numbers in the paper, by heading.
    """

    label: str
    settings: dict[str, Any]
    prior: str = "bundled"
    paper: dict[str, float] = field(default_factory=dict)


@dataclass
class Comparison:
    """A table of the paper.

    Attributes:
        operator: of the measurement.
        rows: solvers.
    """

    title: str
    operator: OperatorConfig
    rows: list[Row]


def _paper(psnr: float, lpips: float, fid: float, diverse: float | None = None) -> dict[str, float]:
    numbers = {"psnr": psnr, "lpips": lpips, "frechet": fid}
    return numbers if diverse is None else numbers | {"diversity": diverse}


HALF_BOX = OperatorConfig(name="half-box", side="left")
PSLD: dict[str, Any] = {"solver": "psld", "guidance": 0.3}
RED_DIFF: dict[str, Any] = {"solver": "latent-reddiff"}
# From noise in pixels its Adam needs the 1000 steps of its paper; 300 leave coloured clouds.
PIXEL_RED_DIFF: dict[str, Any] = {"solver": "reddiff", "n_steps": 1000}
DPS: dict[str, Any] = {"solver": "dps", "guidance": 3.0}
RANDOM: dict[str, Any] = {"regularisation": 0.001, "coupling": 0.009}  # D.2, random mask

COMPARISONS = {
    "table1": Comparison(
        "Table 1: half of the image hidden, latent solvers",
        HALF_BOX,
        [
            Row("PSLD", PSLD, paper=_paper(21.33, 0.126, 57.7, 0.03)),
            Row("latent RED-diff", RED_DIFF, paper=_paper(22.13, 0.307, 92.59, 0.03)),
            Row("RSD, gamma 0, D.2", {}, paper=_paper(24.98, 0.109, 29.18, 0.004)),
            Row("RSD, gamma 10, D.2", {"gamma": 10.0}),
            Row("RSD, gamma 50, D.2", {"gamma": 50.0}, paper=_paper(24.69, 0.111, 31.41, 0.015)),
            Row("RSD, gamma 0, ours", OURS),
            Row("RSD, gamma 10, ours", {"gamma": 10.0, **OURS}),
            Row("RSD, gamma 50, ours", {"gamma": 50.0, **OURS}),
        ],
    ),
    "table7": Comparison(
        "Table 7: half of the image hidden, against solvers in pixel space",
        HALF_BOX,
        [
            Row("PSLD", PSLD, paper=_paper(20.66, 0.16, 57.7)),
            Row("RSD, gamma 0, ours", OURS, paper=_paper(24.98, 0.079, 29.18)),
            Row("RED-diff, 1000 steps", PIXEL_RED_DIFF, "bundled-pixel", _paper(23.1, 0.067, 29.79)),
            Row("DPS", DPS, "bundled-pixel", _paper(21.35, 0.166, 112.9)),
        ],
    ),
    "table8": Comparison(
        "Table 8: 80 % of the pixels hidden",
        OperatorConfig(name="random", share=0.8),
        [
            Row("PSLD", PSLD, paper=_paper(28.53, 0.212, 65.14)),
            Row("latent RED-diff", RED_DIFF),
            Row("RSD, gamma 0, D.2", RANDOM, paper=_paper(30.56, 0.145, 41.11)),
            Row("RSD, gamma 0, ours", {**RANDOM, **OURS}),
            Row("RSD, gamma 50, ours", {"gamma": 50.0, **RANDOM, **OURS}),
        ],
    ),
}
HEADINGS = ("psnr", "ssim", "lpips", "diversity", "diversity_clip", "consistent", "colours")  # have intervals
FORMS = {"psnr": ".2f", "colours": ".2f", "consistent": ".2f"}


def run(name: str, argv: Sequence[str]) -> int:
    """Run a comparison: a table on the terminal, `NAME/table.json`, and a contact sheet for each solver.

    Rows that an earlier call of the same command has finished are read, not run again.

    Raises:
        UserError: an impossible argument, deepinv is missing, or a folder of results that were made otherwise.
    """
    comparison = COMPARISONS[name]
    args = _parser(name, comparison).parse_args(argv)
    for key in ("images", "n", "steps"):
        if getattr(args, key) < 1:
            raise UserError(f"--{key}={getattr(args, key)} is impossible; accepted: an integer of at least 1.")
    require("deepinv", "inverse")
    folder = args.output / name
    make_folder(folder)
    scene = choose_scenes(args.images, IMAGE_SEED)
    images, classes = render_scenes(scene), scene.object_class
    instruments = _Instruments()
    results: dict[str, Any] = {}
    for number, row in enumerate(comparison.rows, start=1):
        file = folder / f"{_file_name(row.label)}.json"
        made_with = {"settings": row.settings, "prior": row.prior, "images": args.images, "n": args.n}
        made_with |= {"steps": args.steps, "seed": args.seed, "operator": asdict(comparison.operator)}
        if file.is_file():
            result = json.loads(file.read_text())
            if result["made_with"] != made_with:
                raise UserError(f"{str(file)!r} was made with other settings; choose another --output or remove it.")
        else:
            print(f"[{number}/{len(comparison.rows)}] {row.label}", flush=True)
            answers, seconds = _restore(row, comparison.operator, images, args)
            result = {"made_with": made_with, "seconds_per_step_and_image": seconds}
            result |= instruments.measure(answers, images, classes)
            save_grid(_sheet(answers, images), folder / f"{_file_name(row.label)}.png", columns=1 + args.n)
            write_whole(file, json.dumps(result, indent=1) + "\n")
        results[row.label] = result
    record: dict[str, Any] = {"title": comparison.title, "command": f"rsd reproduce {name} {' '.join(argv)}".strip()}
    record |= {"floor_frechet": instruments.floor(args.images * args.n), "rows": results}
    write_whole(folder / "table.json", json.dumps(record, indent=1) + "\n")
    print(f"\n{comparison.title}; {args.images} images, {args.n} answers each, {args.steps} steps\n")
    print(format_table(*_table(comparison, results)))
    print(
        f"\nFrechet distance of as many renders: {record['floor_frechet']:.1f}. In brackets: 95 % bootstrap intervals."
    )
    print(f"Results: {folder}")
    return 0


def _restore(row: Row, operator: OperatorConfig, images: Tensor, args: argparse.Namespace) -> tuple[Tensor, float]:
    """Answers (M, N, 3, H, W), and seconds a step and image."""
    prior = load_prior(row.prior)
    physics = build_operator(operator, (3, prior.image_size, prior.image_size))
    features = load_features("dino", bundled=True)
    answers, seconds = [], 0.0
    settings: dict[str, Any] = {}
    for first in range(0, len(images), BATCH):
        part = images[first : first + BATCH]
        y = measure(physics, part, operator, first)
        started = time.perf_counter()
        # Each batch has its own seed: within a run the noise follows from the image's place in the batch.
        settings = {"n_steps": args.steps, **row.settings, "n_particles": args.n, "seed": args.seed + first}
        answers.append(solve(y, physics, prior, features=features, **settings).reconstructions)
        seconds += time.perf_counter() - started
    return torch.cat(answers), seconds / (settings["n_steps"] * len(images))


class _Instruments:
    """Networks that measure, loaded once."""

    def __init__(self) -> None:
        self.judge = ToyworldJudge.bundled()
        self.networks = {name: load_features(name, bundled=True) for name in ("dino", "clip")}
        self.references = self._features(render_scenes(choose_scenes(REFERENCES, REFERENCE_SEED)))
        try:
            self.lpips = load_lpips()
        except UserError as error:
            print(f"LPIPS is left out: {error}")
            self.lpips = None

    @torch.no_grad()
    def measure(self, answers: Tensor, images: Tensor, classes: Tensor) -> dict[str, Any]:
        """`values`: one number an image for each of HEADINGS; `frechet`: of all answers together."""
        quality = reconstruction_metrics(answers, images, self.lpips)
        labels = [self.judge.predict(each) for each in answers]
        values = {key: quality[key]["mean"].tolist() for key in quality}
        values["diversity"] = [float(diversity(self.networks["dino"](each))) for each in answers]
        values["diversity_clip"] = [float(diversity(self.networks["clip"](each))) for each in answers]
        values["consistent"] = [
            float((label["class"] == true).float().mean()) for label, true in zip(labels, classes, strict=True)
        ]
        values["colours"] = [float(len(label["colour"].unique())) for label in labels]
        return {"values": values, "frechet": frechet_distance(self._features(answers.flatten(0, 1)), self.references)}

    def floor(self, n: int) -> float:
        """Frechet distance of n renders, which no method can beat but by chance."""
        return frechet_distance(
            self._features(render_scenes(choose_scenes(max(n, 2), IMAGE_SEED + 1))), self.references
        )

    @torch.no_grad()
    def _features(self, images: Tensor) -> Tensor:
        return torch.cat([self.judge.features(part) for part in images.split(64)])


def _table(comparison: Comparison, results: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows."""
    keys = [key for key in HEADINGS if key in next(iter(results.values()))["values"]]
    rows = []
    for row in comparison.rows:
        result = results[row.label]
        cells = [row.label]
        for key in keys:
            values = torch.tensor(result["values"][key])
            low, high = bootstrap_interval(values)
            form = FORMS.get(key, ".3f")
            cells.append(f"{float(values.mean()):{form}} [{low:{form}}, {high:{form}}]")
        cells += [f"{result['frechet']:.1f}", f"{1000 * result['seconds_per_step_and_image']:.0f}"]
        cells.append(" / ".join(format_number(row.paper.get(key), "g") for key in ("psnr", "frechet", "diversity")))
        rows.append(cells)
    return ["solver", *keys, "frechet", "ms/step", "paper: psnr / fid / diversity"], rows


def _sheet(answers: Tensor, images: Tensor) -> Tensor:
    """A row of truth and answers for each of the first images."""
    rows = torch.cat([images[:SHEET_IMAGES, None], answers[:SHEET_IMAGES]], 1)
    return rows.flatten(0, 1).clamp(0, 1)


def _file_name(label: str) -> str:
    return label.lower().replace(",", "").replace(" ", "-")


def _parser(name: str, comparison: Comparison) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"rsd reproduce {name}", description=comparison.title)
    parser.add_argument("--images", type=int, default=50, help="renders to restore (default: 50)")
    parser.add_argument("--n", type=int, default=2, help="answers to each (default: 2)")
    parser.add_argument(
        "--steps", type=int, default=100, help="of every solver but those that name their own (default: 100)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of particles and noise (default: 0)")
    parser.add_argument("--output", type=Path, default=Path("outputs/reproduce"), help="default: outputs/reproduce")
    return parser
