"""Studies from the folders that this package's commands leave: a reproduction, a sweep, runs, a table."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError, first_line
from ..reproduce.definitions import ROLES, read_toy_figure
from ..reproduce.gaussian_toy import ToyRow, describe
from ..runs.grid import PRIOR_KEYS, PROMPT_KEYS, SEED_KEY, format_value, short_names
from ..runs.trial import find_grid, read_config, read_logs
from .study import (
    GUIDE_KEYS,
    HIGHER,
    LOWER,
    SAMPLING,
    Arm,
    Case,
    Comparison,
    Estimate,
    Metric,
    Missing,
    Study,
    common,
    join_curves,
    name_metrics,
    read_values,
    setting,
    summarize,
    summarize_cases,
)

ACCEPTED = (
    "accepted: a folder with reproduction.json (rsd reproduce), sweep.json (rsd sweep), table.json "
    "(rsd reproduce table1) or toy.json (rsd toy), a trial folder with save/metrics.json, or a folder of trial folders"
)
TABLE_METRICS = {  # of a table of solvers: names and directions
    "diversity_clip": Metric("diversity, CLIP", HIGHER),
    "diversity_dino": Metric("diversity, DINO", HIGHER),
    "psnr": Metric("PSNR, dB", HIGHER),
    "ssim": Metric("SSIM", HIGHER),
    "lpips": Metric("LPIPS", LOWER),
    "class_accuracy": Metric("class accuracy", HIGHER),
    "colors": Metric("colors", HIGHER),
    "frechet": Metric("Fréchet distance", LOWER),
    "seconds_per_step": Metric("seconds per step and image", LOWER),
}


def read_study(folder: Path) -> Study:
    """The study that lies in a folder.

    Raises:
        UserError: there is none, none of its runs has finished, or a file in it is not understood.
    """
    if not folder.is_dir():
        raise UserError(f"{str(folder)!r} is no folder; {ACCEPTED}.")
    readers: dict[str, Callable[[Path, dict[str, Any]], Study]] = {
        "reproduction.json": _read_reproduction,
        "sweep.json": _read_sweep,
        "table.json": _read_table,
        "toy.json": _read_toy,
    }
    for name, reader in readers.items():
        file = folder / name
        if file.is_file():
            try:
                study = reader(folder, json.loads(file.read_text(encoding="utf-8")))
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                why = f"{type(error).__name__}: {first_line(error)}"
                raise UserError(f"{str(file)!r} is not understood ({why}); {ACCEPTED}.") from error
            study.measured = file.stat().st_mtime
            break
    else:
        study = _read_trials(folder)
    if not any(arm.cases for arm in study.arms):
        raise UserError(f"No run in {str(folder)!r} has finished: there is nothing to report yet.")
    return study


def _read_reproduction(folder: Path, record: dict[str, Any]) -> Study:
    arms = []
    for entry in record["settings"]:
        cases = []
        for run in entry["runs"]:
            case = Case(run["prompt"], run["seed"], values=run["values"])
            for each in run["folders"]:
                _add_run(case, folder / each)
            cases.append(case)
        figures = {key: _figure(**value) for key, value in entry["figures"].items()}
        arm = Arm(entry["label"], cases, figures, entry.get("paper") or {})
        arm.role = entry.get("role") if entry.get("role") in ROLES else ROLES[0]
        arm.curve, arm.position = entry.get("curve"), entry.get("position")
        first = next((folder / each for run in entry["runs"] for each in run["folders"]), None)
        _add_config(arm, first, entry["overrides"])
        arms.append(arm)
    measured = {key for arm in arms for key in arm.figures}
    metrics = {key: Metric(each["name"], each["better"]) for key, each in record["metrics"].items() if key in measured}
    notes = ["A quick version: few prompts, seeds and steps."] if record.get("quick") else []
    notes += [f"Not measured: {', '.join(each['metrics'])} ({each['why']})." for each in record.get("left_out", [])]
    return Study(
        record["title"],
        arms,
        metrics,
        record["claim"],
        record["command"],
        record["networks"]["guide"],
        record["prior"],
        record["steps"],
        record["particles"],
        [
            Missing(each["setting"], each["prompt"], each["seed"], each.get("error"))
            for each in record.get("missing", [])
        ],
        record["versions"],
        notes=notes,
        comparisons=[
            Comparison(
                tuple(each["curves"]),
                each["diversity"],
                each["quality"],
                tuple(each["range"]),
                _figure(each["difference"], each["interval"]),
            )
            for each in record.get("comparisons", [])
            if each["diversity"] in metrics and each["quality"] in metrics
        ],
    )


def _read_sweep(folder: Path, record: dict[str, Any]) -> Study:
    groups: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {}
    for run in record["runs"]:
        kept = {key: value for key, value in run["settings"].items() if key != SEED_KEY and key not in PROMPT_KEYS}
        groups.setdefault(json.dumps(kept, sort_keys=True), (kept, []))[1].append(run)
    settings = [kept for kept, _ in groups.values()]
    varied = [
        key for key in dict.fromkeys(key for kept in settings for key in kept)
        if len({format_value(kept.get(key)) for kept in settings}) > 1
    ]  # fmt: skip
    names, stem = short_names(varied), Path(record["config"]).stem
    finished = [run["metrics"] for run in record["runs"] if run["metrics"] is not None]
    fixed = next((metrics.get("prompt", "") for metrics in finished), "")  # where prompts do not vary
    arms, missing = [], []
    for kept, runs in groups.values():
        label = ", ".join(f"{names[key]} {format_value(kept[key])}" for key in varied if key in kept) or stem
        cases = []
        for run in runs:
            prompt, seed = setting(run["settings"], PROMPT_KEYS) or fixed, run["settings"].get(SEED_KEY)
            if run["metrics"] is None:
                missing.append(Missing(label, prompt, seed, run["error"] or run["state"]))
                continue
            case = Case(prompt, seed, values=read_values(run["metrics"]))
            _add_run(case, folder / run["folder"])
            cases.append(case)
        arm = Arm(label, cases, summarize_cases(cases))
        _add_config(arm, folder / runs[0]["folder"], kept)
        arms.append(arm)
    join_curves(arms, settings, stem)
    study = Study(f"Sweep of {Path(record['config']).name}", arms, name_metrics(arms), command=record["command"])
    study.missing = missing
    return _fill_in(study, finished)


def _read_trials(folder: Path) -> Study:
    """The study of one trial folder, or of a folder of such."""
    single = _is_trial(folder)
    inner = folder / "runs" if (folder / "runs").is_dir() else folder
    folders = [folder] if single else sorted((each for each in inner.iterdir() if _is_trial(each)), key=_natural)
    if not folders:
        raise UserError(f"{str(folder)!r} holds nothing that can be reported; {ACCEPTED}.")
    labels = _labels(folders)
    arms, missing, finished, times = [], [], [], []
    for each, label in zip(folders, labels, strict=True):
        metrics = _read_metrics(each)
        if metrics is None:
            missing.append(Missing(label, error="has not finished"))
            continue
        arm = Arm(label)
        _add_config(arm, each, {})
        seed = arm.config.get(SEED_KEY)
        case = Case(metrics.get("prompt", ""), seed if isinstance(seed, int) else None, values=read_values(metrics))
        _add_run(case, each)
        arm.cases, arm.figures = [case], summarize_cases([case])
        finished.append(metrics)
        times.append((each / "save" / "metrics.json").stat().st_mtime)
        arms.append(arm)
    if single and missing:
        raise UserError(f"{str(folder)!r} has not finished: save/metrics.json, which a run writes last, is missing.")
    join_curves(arms, [arm.config for arm in arms])
    title = labels[0] if single else f"Runs in {folder.resolve().name}"
    study = Study(title, arms, name_metrics(arms), missing=missing, measured=max(times, default=0))
    if single and arms:
        study.command = "\n".join(arms[0].cases[0].commands)
    return _fill_in(study, finished)


def _read_table(folder: Path, record: dict[str, Any]) -> Study:
    """A comparison of solvers: its rows are arms, each with a contact sheet of its own."""
    arms, settings = [], []
    for label, row in record["rows"].items():
        made_with = {**row["made_with"], "operator": row["made_with"]["operator"]["name"]}
        of_solver = made_with.pop("settings")
        sheet = folder / row.get("sheet", f"{label.lower().replace(',', '').replace(' ', '-')}.png")
        figures = {
            ("diversity_dino" if key == "diversity" else key): summarize(values)
            for key, values in row["values"].items()
        }
        figures["seconds_per_step"] = Estimate(row["seconds_per_step_and_image"])
        if row["frechet"] is not None:  # Inception could be had
            figures["frechet"] = Estimate(row["frechet"])
        case = Case("", made_with["seed"], [sheet] if sheet.is_file() else [])
        arms.append(Arm(label, [case], figures, row.get("paper") or {}))
        arms[-1].role = "rival" if "solver" in of_solver else ROLES[0]
        # RSD is the solver where none is named, and its gamma is 0 where none is.
        settings.append({**({} if "solver" in of_solver else {"gamma": 0.0}), **of_solver})
        _add_config(arms[-1], None, {**made_with, **of_solver})
    join_curves(arms, settings)
    present = {key for arm in arms for key in arm.figures}
    study = Study(
        record["title"],
        arms,
        {key: metric for key, metric in TABLE_METRICS.items() if key in present},
        claim=record.get("claim", ""),
        command=record["command"],
        prior=common([arm.config["prior"] for arm in arms]) or "",
        steps=common([arm.config["steps"] for arm in arms]),
        particles=common([arm.config["n_particles"] for arm in arms]),
    )
    study.notes.append("Each sheet: a row for each image, the truth first, then the answers.")
    study.notes.append(f"Intervals are over {arms[0].config['images']} images.")
    if record["floor_frechet"] is not None:
        floor = f"{record['floor_frechet']:.0f}"
        study.notes.append(f"Fréchet distance of as many renders, which no method can beat but by chance: {floor}.")
    return study


def _read_toy(folder: Path, record: dict[str, Any]) -> Study:
    """The toy problem: its one figure, and what it says about the paper's setting."""
    arm = Arm("every setting", [Case("", record["settings"]["seed"], [folder / "toy.png"])])
    _add_config(arm, None, record["settings"])
    figure = read_toy_figure("fig9")
    found = "; ".join(describe([ToyRow(**row) for row in record["rows"]]))
    return Study(
        figure.title,
        [arm],
        claim=figure.claim,
        command="rsd toy",
        steps=record["settings"]["steps"],
        notes=[f"As in the paper (random t, kernel on noisy particles): {found}.", "Every number is in toy.csv."],
    )


def _fill_in(study: Study, finished: Sequence[Mapping[str, Any]]) -> Study:
    """Steps, particles, prior and guide, from configs and metrics.json."""
    methods = [arm for arm in study.arms if arm.role != "bound"] or study.arms
    study.prior = str(common([setting(arm.config, PRIOR_KEYS) for arm in methods]) or "")
    study.guide = str(common([setting(arm.config, GUIDE_KEYS) for arm in methods]) or study.guide)
    stepped = [metrics.get("steps") for metrics in finished if metrics.get("steps") != 1]  # sampling is one step
    study.steps, study.particles = common(stepped), common([metrics.get("n_particles") for metrics in finished])
    return study


def _add_run(case: Case, folder: Path) -> None:
    """Add what lies in a trial folder to a case; nothing where the folder is gone."""
    grid = find_grid(folder)
    if grid is not None:
        case.images.append(grid)
        film = grid.with_name(grid.name.replace("-sheet.png", ".mp4"))
        if film != grid and film.is_file():
            case.videos.append(film)
    logs = read_logs(folder / "csv_logs")
    if logs:
        case.logs.append(logs)
    command = folder / "cmd.txt"
    if command.is_file():
        case.commands.append(command.read_text(encoding="utf-8").strip())


def _add_config(arm: Arm, folder: Path | None, settings: Mapping[str, Any]) -> None:
    """Give an arm the config in a trial folder, or only its settings where there is none."""
    config = {} if folder is None else read_config(folder)
    arm.config = config or dict(settings)
    if folder is not None and config:
        arm.config_text = (folder / "configs" / "parsed.yaml").read_text(encoding="utf-8")
        if config.get("system_type") == SAMPLING:
            arm.role = "bound"
    else:
        arm.config_text = "".join(f"{key}: {format_value(value)}\n" for key, value in settings.items())


def _figure(mean: float, interval: Sequence[float] | None) -> Estimate:
    return Estimate(mean, *(interval or (None, None)))


def _is_trial(folder: Path) -> bool:
    return (folder / "configs" / "parsed.yaml").is_file() or (folder / "save" / "metrics.json").is_file()


def _read_metrics(folder: Path) -> dict[str, Any] | None:
    """Content of save/metrics.json; None where a run has not written it, or not to its end."""
    try:
        return json.loads((folder / "save" / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _labels(folders: Sequence[Path]) -> list[str]:
    """Names of the folders, without the time where they differ without it."""
    names = [folder.resolve().name for folder in folders]
    short = [name.partition("@")[0] for name in names]
    return short if len(set(short)) == len(short) else names


def _natural(folder: Path) -> list[Any]:
    """gamma-5 comes before gamma-20."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", folder.name)]
