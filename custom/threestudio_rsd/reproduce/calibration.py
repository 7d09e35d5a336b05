"""`rsd reproduce calibration`: answers of each solver against the scenes that agree with the measurement.

The bundled world's renderer gives the true posterior: the scenes whose measurement agrees with the given one. A row is
calibrated if its answers differ as these scenes do. The first row, drawn from the scenes themselves, is the target.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from ..errors import in_range, require
from ..files import data_path, make_folder, write_json
from ..inverse import solve
from ..inverse.operators import OperatorConfig, build_operator, measure
from ..priors import Prior, load_prior
from ..repulsion import load_features
from ..tensor_files import read_tensors, write_tensors
from ..toyworld.posterior import ScenePool, ScenePosterior, to_scenes, to_tables
from ..toyworld.render import render_scenes
from ..toyworld.world import Scene, choose_scenes
from .calibration_metrics import CalibrationInstruments, hidden_pixels
from .definitions import PaperItem, SolverRow, parse, rows_of
from .experiment_files import BUNDLED, read_settings

IMAGE_SEED = 62_000  # seed of the restored renders; neither training nor the other tables use it
TRUE_ROW = "true posterior"
BATCH = 5  # images restored at once


@dataclass
class CalibrationVariant:
    """Changes with --quick.

    Attributes:
        images: number of images.
        n_answers: see `CalibrationStudy`.
        population: see `CalibrationStudy`.
        pool: see `CalibrationStudy`.
        settings: fields of SolverConfig, for all rows.
    """

    images: int
    n_answers: int
    population: int
    pool: int
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass
class CalibrationStudy(PaperItem):
    """The calibration of solvers on renders.

    Attributes:
        problems: forward operators by their name in the table.
        images: number of renders that are restored.
        n_answers: answers to each image; 19 make a rank of the truth a multiple of 5 %.
        n_few: number of answers, from the first, whose different attributes are counted.
        population: scenes of the true posterior for each image.
        pool: scenes from which the search for them starts.
        settings: fields of SolverConfig, for all rows that do not set them.
        rows: the solvers.
        quick: changes with --quick.
    """

    problems: dict[str, OperatorConfig]
    images: int
    n_answers: int
    n_few: int
    population: int
    pool: int
    settings: dict[str, Any]
    rows: list[SolverRow]
    quick: CalibrationVariant


@dataclass
class CalibrationTask:
    """One problem: the images, their measurements and their true posteriors.

    Attributes:
        operator: forward operator and noise.
        physics: the operator that was built.
        truth: (M, 3, H, W) in [0, 1].
        measurement: (M, ...).
        posteriors: scenes that agree with each measurement.
        possible: labels of their renders for each image, see `CalibrationInstruments.labels`.
    """

    operator: OperatorConfig
    physics: Any
    truth: Tensor
    measurement: Tensor
    posteriors: list[Scene]
    possible: list[dict[str, Tensor]]

    def measure(self, answers: Tensor, instruments: CalibrationInstruments) -> dict[str, Any]:
        """Metrics of the answers (M, N, 3, H, W); see `CalibrationInstruments.measure`."""
        return instruments.measure(answers, self.truth, self.possible, self.physics)


def read_study(name: str, quick: bool) -> CalibrationStudy:
    """The study in `load/studies/NAME.yaml`.

    Args:
        name: name of the file.
        quick: with the changes of --quick.

    Raises:
        UserError: unknown name, or a file with unknown or missing keys.
    """
    content = read_settings(name)
    content.pop("kind")
    study: CalibrationStudy = parse(CalibrationStudy, content, name)
    if not quick:
        return study
    few = study.quick
    rows = [replace(row, settings={k: v for k, v in row.settings.items() if k != "n_steps"}) for row in study.rows]
    settings = {**study.settings, **few.settings}
    return replace(
        study,
        images=few.images,
        n_answers=few.n_answers,
        population=few.population,
        pool=few.pool,
        settings=settings,
        rows=rows,
    )


def run(
    name: str,
    *,
    images: int | None = None,
    n_answers: int | None = None,
    problems: Sequence[str] | None = None,
    rows: Sequence[str] | None = None,
    seed: int = 0,
    quick: bool = False,
    output: Path,
    device: str = "cpu",
    command: str,
) -> Path:
    """Restore, compare with the true posterior, and write `calibration.json`, `calibration.png` and the answers.

    Rows that an earlier call has finished in the same folder are not run again.

    Args:
        name: name of the study.
        images: number of renders; None: the study's.
        n_answers: answers to each image; None: the study's.
        problems: names of the problems; None: all.
        rows: labels of the rows to make, besides the true posterior; None: all.
        seed: seed of particles and noise.
        quick: one image and few steps.
        output: the results go to OUTPUT/NAME or OUTPUT/NAME-quick.
        device: device of all networks.
        command: command line of the user, kept in calibration.json.

    Returns:
        Folder of the results.

    Raises:
        UserError: an impossible argument, or deepinv is not installed.
    """
    from .calibration_plot import draw_calibration
    from .calibration_table import format_calibration

    require("deepinv", "inverse")
    study = read_study(name, quick)
    study = replace(study, rows=rows_of(rows, study.rows))
    for key, value in (("--images", images), ("--n-particles", n_answers)):
        if value is not None:
            in_range(key, value, 1)
    study = replace(study, images=images or study.images, n_answers=n_answers or study.n_answers)
    folder = output / (f"{name}-quick" if quick else name)
    make_folder(folder)
    prior = load_prior(BUNDLED, device=device)
    instruments = CalibrationInstruments(study.n_few, device)
    pool = ScenePool(study.pool)
    results: dict[str, dict[str, Any]] = {}
    for problem, operator in study.problems.items():
        if problems is not None and problem not in problems:
            continue
        print(f"{problem}: scenes that agree with the measurements", flush=True)
        task = make_task(
            study, operator, prior, instruments, pool, folder / f"{_file_name(problem)}-scenes.safetensors"
        )
        results[problem] = {TRUE_ROW: task.measure(_true_answers(task, study.n_answers), instruments)}
        for row in study.rows:
            file = folder / f"{_file_name(problem)}-{_file_name(row.label)}.json"
            results[problem][row.label] = _measured(row, task, study, prior, seed, instruments, file, problem)
    record = {"title": study.title, "command": command, "n_answers": study.n_answers, "n_few": study.n_few}
    write_json(folder / "calibration.json", {**record, "problems": results})
    draw_calibration(results, folder / "calibration.png")
    print(format_calibration(results))
    return folder


def make_task(
    study: CalibrationStudy,
    operator: OperatorConfig,
    prior: Prior,
    instruments: CalibrationInstruments,
    pool: ScenePool,
    file: Path,
) -> CalibrationTask:
    """Images, measurements and true posteriors of a problem.

    Args:
        study: numbers of images and of scenes.
        operator: forward operator.
        prior: prior whose image size the operator takes.
        instruments: measure the scenes that agree.
        pool: scenes from which the search for those that agree starts.
        file: file of the scenes that agree; images that an earlier call has finished are read from it.
    """
    made_with = json.dumps(
        {"operator": asdict(operator), "images": study.images, "population": study.population, "pool": study.pool}
    )
    if operator.mask_path:
        operator = replace(operator, mask_path=str(data_path(operator.mask_path)))
    side, device = prior.image_size, instruments.device
    physics = build_operator(operator, (3, side, side), device)
    scenes = choose_scenes(study.images, IMAGE_SEED)
    truth = render_scenes(scenes)
    hidden = hidden_pixels(physics, truth)[0]
    shown = None if hidden.all() else ~hidden

    def coarse(renders: Tensor) -> Tensor:
        """Measurement of small renders; of inpainting, the entries that it shows."""
        measured: Tensor = physics.A(torch.nn.functional.interpolate(renders, (side, side)).to(device)).cpu()
        return measured if shown is None else measured[:, shown]

    posteriors = _read_scenes(file, made_with)
    if len(posteriors) < study.images:
        sampler = ScenePosterior(coarse, pool, None if shown is None else _shrink(shown, pool.resolution))
        small = coarse(pool.render(scenes))
        for i in tqdm(range(len(posteriors), study.images), desc="Searching", unit="image", leave=False):
            start = scenes.select(torch.tensor([i]))
            posteriors.append(sampler.sample(small[i], study.population, start, seed=i).scenes)
            _write_scenes(posteriors, file, made_with)  # after each image, which takes minutes
    possible = [instruments.labels(render_scenes(each)) for each in posteriors]
    y = measure(physics, truth.to(device), operator)
    return CalibrationTask(operator, physics, truth, y, posteriors, possible)


def _shrink(shown: Tensor, resolution: int) -> Tensor:
    """Pixels of a small render (resolution, resolution) of which the image shows any entry (3, H, W)."""
    return torch.nn.functional.adaptive_max_pool2d(shown.float(), resolution).bool().any(0)


def _write_scenes(posteriors: list[Scene], file: Path, made_with: str) -> None:
    """Write the scenes of each image."""
    tables = {}
    for i, scenes in enumerate(posteriors):
        tables[f"{i}.continuous"], tables[f"{i}.discrete"] = to_tables(scenes)
    write_tensors(file, tables, made_with)


def _read_scenes(file: Path, made_with: str) -> list[Scene]:
    """Scenes of the images that are finished; none where there is no file, or one of other settings."""
    found = read_tensors(file, made_with)
    if found is None:
        return []
    tables, _ = found
    return [to_scenes(tables[f"{i}.continuous"], tables[f"{i}.discrete"]) for i in range(len(tables) // 2)]


def _measured(
    row: SolverRow,
    task: CalibrationTask,
    study: CalibrationStudy,
    prior: Prior,
    seed: int,
    instruments: CalibrationInstruments,
    file: Path,
    problem: str,
) -> dict[str, Any]:
    """Metrics of a row, read from its file where the same settings made it."""
    settings = {**study.settings, **row.settings, "n_particles": study.n_answers}
    # The operator of the study names its mask by a path that does not depend on where the package lies.
    made_with = {"settings": settings, "seed": seed, "operator": asdict(study.problems[problem])}
    made_with |= {"images": study.images, "population": study.population}
    if file.is_file():
        found: dict[str, Any] = json.loads(file.read_text())
        if found["made_with"] == made_with:
            return found
    print(f"{problem}: {row.label}", flush=True)
    features = load_features("dino", prior.is_bundled, prior.device) if settings.get("gamma") else "euclidean"
    parts = []
    for first in range(0, study.images, BATCH):
        y = task.measurement[first : first + BATCH]
        solution = solve(
            y, task.physics, prior, features=features, seed=seed + first, measurement_deviation=task.operator.sigma,
            **settings,
        )  # fmt: skip
        parts.append(solution.reconstructions)
    result = {**task.measure(torch.cat(parts), instruments), "made_with": made_with}
    write_json(file, result)
    return result


def _true_answers(task: CalibrationTask, n: int) -> Tensor:
    """N renders drawn from the true posterior of each image, (M, N, 3, H, W)."""
    generator = torch.Generator().manual_seed(IMAGE_SEED)
    drawn = [scenes.select(torch.randint(len(scenes), (n,), generator=generator)) for scenes in task.posteriors]
    return torch.stack([render_scenes(each) for each in drawn])


def _file_name(label: str) -> str:
    return label.lower().replace(",", "").replace(" ", "-")
