"""Readers of the folders that commands of this package write; each returns a `Study`."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..metrics.statistics import Estimate, estimate
from ..reproduce.definitions import ROLES, read_toy_figure
from ..reproduce.gaussian_toy import ToyRow, describe
from ..runs.grid import PRIOR_KEYS, PROMPT_KEYS, SEED_KEY, format_value, short_names
from ..runs.result_files import damaged, read_config, read_json, read_metrics, read_text
from ..runs.trial import find_grid, read_logs, read_values
from .record_types import check_types
from .study import (
    CaseResult,
    CurveComparison,
    Missing,
    RestoredImage,
    SettingResult,
    Study,
    common,
    count,
    estimate_cases,
    first_value,
    join_curves,
)

ACCEPTED = (
    "accepted: a folder with reproduction.json (rsd reproduce), sweep.json (rsd sweep), table.json "
    "(rsd reproduce table1) or toy.json (rsd toy), a trial folder with save/metrics.json, or a folder of trial folders"
)
GUIDE_KEYS = ("system.guidance.features", "system.features")
SAMPLING = "ancestral-sampling-system"  # plain sampling of the prior: the upper bound of every comparison
MOST_RESTORED = 16  # images of an inverse problem that are shown, as on a grid


def read_study(source: Path | Mapping[str, Path]) -> Study:
    """Read a folder, or several trial folders by label.

    Args:
        source: a folder, see ACCEPTED, or trial folders by label.

    Raises:
        UserError: nothing can be reported, none of the runs has finished, or a file is malformed.
    """
    if isinstance(source, Mapping):
        return _with_results(read_runs(source, "Runs side by side"), ", ".join(map(str, source.values())))
    if not source.is_dir():
        raise UserError(f"{str(source)!r} is no folder; {ACCEPTED}.")
    readers: dict[str, Callable[[Path, dict[str, Any]], Study]] = {
        "reproduction.json": read_reproduction,
        "sweep.json": read_sweep,
        "table.json": read_table,
        "toy.json": read_toy,
    }
    for name, reader in readers.items():
        file = source / name
        if file.is_file():
            try:
                study = reader(source, read_json(file))
                check_types(study)
            except UserError:
                raise
            except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
                raise damaged(file, error) from error
            study.measured = file.stat().st_mtime
            return _with_results(study, str(source))
    return _with_results(read_trial_folders(source), str(source))


def read_reproduction(folder: Path, record: dict[str, Any]) -> Study:
    """Study of a folder with reproduction.json.

    Args:
        folder: folder of the file; the run folders are relative to it.
        record: content of the file.
    """
    settings = []
    for entry in record["settings"]:
        setting = SettingResult(entry["label"], paper=entry.get("paper") or {})
        for run in entry["runs"]:
            case = CaseResult(run["prompt"], run["seed"], values=run["values"])
            for each in run["folders"]:
                _add_run(case, folder / each)
            setting.cases.append(case)
        setting.figures = {key: Estimate.from_record(value) for key, value in entry["figures"].items()}
        setting.role = entry.get("role") if entry.get("role") in ROLES else ROLES[0]
        setting.curve, setting.position = entry.get("curve"), entry.get("position")
        first = next((folder / each for run in entry["runs"] for each in run["folders"]), None)
        _add_config(setting, first, entry["overrides"])
        settings.append(setting)
    study = Study(record["title"], settings, record["claim"], command=record["command"])
    study.guide, study.prior = record["networks"]["guide"], record["prior"]
    study.steps, study.particles, study.versions = record["steps"], record["particles"], record["versions"]
    study.missing = [
        Missing(each["setting"], each["prompt"], each["seed"], each.get("error")) for each in record.get("missing", [])
    ]
    if record.get("quick"):
        study.remarks.append("A quick version: few prompts, seeds and steps.")
    for each in record.get("left_out", []):
        study.remarks.append(f"Not measured: {', '.join(each['metrics'])} ({each['why']}).")
    for each in record.get("comparisons", []):
        difference = Estimate.from_record({"mean": each["difference"], "interval": each["interval"]})
        curves, shared = (each["curves"][0], each["curves"][1]), (each["range"][0], each["range"][1])
        study.comparisons.append(CurveComparison(curves, each["diversity"], each["quality"], shared, difference))
    return study


def read_sweep(folder: Path, record: dict[str, Any]) -> Study:
    """Study of a folder with sweep.json: runs that differ in prompt and seed alone share a setting.

    Args:
        folder: folder of the file; the run folders are relative to it.
        record: content of the file.
    """
    groups: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {}
    for run in record["runs"]:
        kept = {key: value for key, value in run["settings"].items() if key != SEED_KEY and key not in PROMPT_KEYS}
        groups.setdefault(json.dumps(kept, sort_keys=True), (kept, []))[1].append(run)
    overrides = [kept for kept, _ in groups.values()]
    keys = dict.fromkeys(key for kept in overrides for key in kept)
    varied = [key for key in keys if len({format_value(kept.get(key)) for kept in overrides}) > 1]
    names, stem = short_names(varied), Path(record["config"]).stem
    finished = [run["metrics"] for run in record["runs"] if run["metrics"] is not None]
    fixed = next((metrics.get("prompt", "") for metrics in finished), "")  # where prompts do not vary
    settings, missing = [], []
    for kept, runs in groups.values():
        setting = SettingResult(", ".join(f"{names[key]} {format_value(kept[key])}" for key in varied if key in kept))
        setting.label = setting.label or stem
        for run in runs:
            prompt, seed = first_value(run["settings"], PROMPT_KEYS) or fixed, run["settings"].get(SEED_KEY)
            if run["metrics"] is None:
                missing.append(Missing(setting.label, prompt, seed, run["error"] or run["state"]))
                continue
            case = CaseResult(prompt, seed, values=read_values(run["metrics"]))
            _add_run(case, folder / run["folder"])
            setting.cases.append(case)
        setting.figures = estimate_cases(setting.cases)
        _add_config(setting, folder / runs[0]["folder"], kept)
        settings.append(setting)
    join_curves(settings, overrides, stem)
    study = Study(f"Sweep of {Path(record['config']).name}", settings, command=record["command"], missing=missing)
    return _add_common(study, finished)


def read_trial_folders(folder: Path) -> Study:
    """Study of one trial folder, or of a folder of trial folders.

    Raises:
        UserError: there is no trial folder, or the only one has not finished.
    """
    if _is_trial(folder):
        study = read_runs({_labels([folder])[0]: folder}, _labels([folder])[0])
        if study.missing:
            raise UserError(
                f"{str(folder)!r} has not finished: save/metrics.json, which a run writes last, is missing."
            )
        study.command = "\n".join(study.settings[0].cases[0].commands)
        return study
    inner = folder / "runs" if (folder / "runs").is_dir() else folder
    folders = sorted((each for each in inner.iterdir() if _is_trial(each)), key=_natural)
    if not folders:
        raise UserError(f"{str(folder)!r} holds nothing that can be reported; {ACCEPTED}.")
    study = read_runs(dict(zip(_labels(folders), folders, strict=True)), f"Runs in {folder.resolve().name}")
    join_curves(study.settings, [setting.config for setting in study.settings])
    return study


def read_runs(folders: Mapping[str, Path], title: str) -> Study:
    """Study of trial folders, one for each setting; unfinished ones are missing.

    Args:
        folders: trial folders by label, in order.
        title: heading of the page.
    """
    study, finished = Study(title, []), []
    for label, folder in folders.items():
        metrics = read_metrics(folder)
        if metrics is None:
            study.missing.append(Missing(label, error="has not finished"))
            continue
        setting = SettingResult(label)
        _add_config(setting, folder, {})
        seed = setting.config.get(SEED_KEY)
        case = CaseResult(metrics.get("prompt", ""), seed if isinstance(seed, int) else None)
        case.values = read_values(metrics)
        _add_run(case, folder)
        setting.cases, setting.figures = [case], estimate_cases([case])
        study.settings.append(setting)
        study.measured = max(study.measured, (folder / "save" / "metrics.json").stat().st_mtime)
        finished.append(metrics)
    return _add_common(study, finished)


def read_table(folder: Path, record: dict[str, Any]) -> Study:
    """Study of a folder with table.json, a comparison of solvers: every row is a setting with a contact sheet.

    Args:
        folder: folder of the file and the sheets.
        record: content of the file.
    """
    settings, overrides = [], []
    for label, row in record["rows"].items():
        made_with = {**row["made_with"], "operator": row["made_with"]["operator"]["name"]}
        of_solver = made_with.pop("settings")
        sheet = folder / row.get("sheet", f"{label.lower().replace(',', '').replace(' ', '-')}.png")
        figures = {
            ("diversity_dino" if key == "diversity" else key): estimate(values) for key, values in row["values"].items()
        }
        figures["seconds_per_step_and_image"] = Estimate(row["seconds_per_step_and_image"])
        if row["frechet"] is not None:  # it needs Inception, which may be missing
            figures["frechet"] = Estimate(row["frechet"])
        case = CaseResult("", made_with["seed"], images=[sheet] if sheet.is_file() else [])
        setting = SettingResult(label, [case], figures, row.get("paper") or {})
        setting.role = ROLES[0] if of_solver.get("name", "rsd") == "rsd" else "rival"
        _add_config(setting, None, {**made_with, **of_solver})
        settings.append(setting)
        overrides.append({"gamma": 0.0, **of_solver})  # gamma is 0 where the row does not set it
    join_curves(settings, overrides)
    study = Study(record["title"], settings, record.get("claim", ""), command=record["command"])
    study.prior = common(setting.config["prior"] for setting in settings) or ""
    study.steps = common(setting.config["steps"] for setting in settings)
    study.particles = common(setting.config["n_particles"] for setting in settings)
    study.remarks.append("Each sheet: a row for each image, the truth first, then the answers.")
    study.remarks.append(f"Intervals are over {settings[0].config['images']} images.")
    if record["floor_frechet"] is not None:
        floor = f"{record['floor_frechet']:.0f}"
        study.remarks.append(f"Fréchet distance of as many renders, which no method can beat but by chance: {floor}.")
    if record.get("truth_frechet") is not None:  # tables before 0.3 have none
        study.remarks.append(f"Fréchet distance of the true images themselves: {record['truth_frechet']:.0f}.")
    return study


def read_toy(folder: Path, record: dict[str, Any]) -> Study:
    """Study of a folder with toy.json, the toy problem: its figure, and its results in the paper's setting.

    Args:
        folder: folder of the file and the figure.
        record: content of the file.
    """
    setting = SettingResult("every setting", [CaseResult("", record["settings"]["seed"], images=[folder / "toy.png"])])
    _add_config(setting, None, record["settings"])
    figure = read_toy_figure("fig9")
    found = "; ".join(describe([ToyRow(**row) for row in record["rows"]]))
    study = Study(figure.title, [setting], figure.claim)
    study.command, study.steps = record.get("command", "rsd toy"), record["settings"]["steps"]
    study.remarks.append(f"As in the paper (random t, kernel on noisy particles): {found}.")
    study.remarks.append("Every number is in toy.csv.")
    return study


def _with_results(study: Study, where: str) -> Study:
    """The study itself, after a check that it has at least one result."""
    if not any(setting.cases for setting in study.settings):
        raise UserError(f"No run in {where!r} has finished: there is nothing to report yet.")
    return study


def _add_common(study: Study, finished: Sequence[Mapping[str, Any]]) -> Study:
    """Set prior, guide, steps and particles from configs and the contents of metrics.json."""
    methods = [setting for setting in study.settings if setting.role != "bound"] or study.settings
    study.prior = str(common(first_value(setting.config, PRIOR_KEYS) for setting in methods) or "")
    study.guide = str(common(first_value(setting.config, GUIDE_KEYS) for setting in methods) or study.guide)
    study.steps = common(metrics.get("steps") for metrics in finished if metrics.get("steps") != 1)  # 1: sampling
    study.particles = common(metrics.get("n_particles") for metrics in finished)
    return study


def _add_run(case: CaseResult, folder: Path) -> None:
    """Add the files of a trial folder to a case; nothing where the folder is gone."""
    grid = find_grid(folder)
    if grid is not None:
        case.images.append(grid)
        video = grid.with_name(grid.name.replace("-sheet.png", ".mp4"))
        if video != grid and video.is_file():
            case.videos.append(video)
    case.restored += _restored_images(folder)
    metrics = read_metrics(folder) or {}
    if len(case.images) > 1:
        case.content = f"{len(case.images)} separate runs"
    elif "views" in metrics and "n_particles" in metrics:
        case.content = f"{count(metrics['n_particles'], 'object')}, one a row, from {count(metrics['views'], 'side')}"
    elif "n_particles" in metrics:
        case.content = count(metrics["n_particles"], "particle")
    logs = read_logs(folder / "csv_logs")
    if logs:
        case.logs.append(logs)
    command = folder / "cmd.txt"
    if command.is_file():
        case.commands.append(read_text(command).strip())


def _restored_images(folder: Path) -> list[RestoredImage]:
    """Answers to inverse problems in a trial folder: save/test/NAME/particle_00.png with truth.png beside them."""
    restored = []
    for truth in sorted((folder / "save" / "test").glob("*/truth.png"))[:MOST_RESTORED]:
        files = {name: truth.with_name(f"{name}.png") for name in ("measurement", "mean", "deviation")}
        found = {name: file if file.is_file() else None for name, file in files.items()}
        answers = sorted(file for file in truth.parent.glob("particle_*.png") if not file.stem.endswith("_x"))
        restored.append(RestoredImage(name=truth.parent.name, truth=truth, answers=answers, **found))
    return restored


def _add_config(setting: SettingResult, folder: Path | None, overrides: Mapping[str, Any]) -> None:
    """Set the config from a trial folder, or from the overrides alone where there is none."""
    config = {} if folder is None else read_config(folder)
    setting.config = config or dict(overrides)
    if folder is not None and config:
        setting.config_text = read_text(folder / "configs" / "parsed.yaml")
        if config.get("system_type") == SAMPLING:
            setting.role = "bound"
    else:
        setting.config_text = "".join(f"{key}: {format_value(value)}\n" for key, value in overrides.items())


def _is_trial(folder: Path) -> bool:
    return (folder / "configs" / "parsed.yaml").is_file() or (folder / "save" / "metrics.json").is_file()


def _labels(folders: Sequence[Path]) -> list[str]:
    """Names of the folders, without the time stamp where they differ without it."""
    names = [folder.resolve().name for folder in folders]
    short = [name.partition("@")[0] for name in names]
    return short if len(set(short)) == len(short) else names


def _natural(folder: Path) -> list[Any]:
    """Sort key of a folder by which gamma-5 comes before gamma-20."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d{1,18})", folder.name)]
