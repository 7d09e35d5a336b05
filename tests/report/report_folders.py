"""Small folders as the commands leave them, for the tests of the report."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

GAMMAS, PROMPTS, SEEDS = (0, 10), ("a car", "a <mushroom>"), (0, 1)
RESTORED = ("a car", "a house")  # names of images of inverse problems
COLORS = {  # of the grid of every gamma, prompt and seed
    (gamma, prompt, seed): (40 + 15 * gamma, 60 + 90 * PROMPTS.index(prompt), 50 + 100 * seed)
    for gamma, prompt, seed in itertools.product(GAMMAS, PROMPTS, SEEDS)
}


def make_trial(
    folder: Path,
    gamma: float,
    color: tuple[int, int, int] = (200, 0, 0),
    prompt: str = "a car",
    seed: int = 0,
    n: int = 2,
) -> dict[str, Any]:
    """A finished trial folder of particle-image-system, whose grid has one color; returns its metrics."""
    (folder / "save").mkdir(parents=True)
    Image.new("RGB", (n * 66 - 2, 64), color).save(folder / "save" / "it20-test.png")
    metrics = {"prompt": prompt, "n_particles": n, "steps": 20, "gamma": gamma, "seconds_per_step": 0.25, "colors": 2}
    metrics |= {"diversity": {"dino": 0.2 + gamma / 50 + seed / 20, "clip": 0.1 + gamma / 100 + seed / 25}}
    metrics |= {"vendi": {"dino": 1.5}, "class_accuracy": 1.0 - gamma / 80}
    (folder / "save" / "metrics.json").write_text(json.dumps(metrics))
    add_config(folder, gamma, prompt, seed)
    (folder / "csv_logs" / "version_0").mkdir(parents=True)
    rows = [f"{step},{0.01 * step + gamma / 100},{1000 / (step + 1)}" for step in (9, 19)]
    header = "step,train/diversity_dino,train/loss_sds"
    (folder / "csv_logs" / "version_0" / "metrics.csv").write_text("\n".join([header, *rows]) + "\n")
    (folder / "cmd.txt").write_text(f"rsd launch --train system.guidance.gamma={gamma} seed={seed}")
    return metrics


def add_config(folder: Path, gamma: float, prompt: str = "a car", seed: int = 0) -> None:
    """configs/parsed.yaml, which a run writes first."""
    (folder / "configs").mkdir(parents=True)
    guidance = f"{{gamma: {gamma}, features: dino, pretrained_model_name_or_path: bundled}}"
    text = f"tag: {folder.name}\nseed: {seed}\nsystem_type: particle-image-system\n"
    text += f"system:\n  guidance: {guidance}\n  prompt_processor: {{prompt: {json.dumps(prompt)}}}\n"
    (folder / "configs" / "parsed.yaml").write_text(text)


def add_sampling(folder: Path) -> None:
    """Make a trial one of plain sampling, which logs nothing."""
    (folder / "csv_logs" / "version_0" / "metrics.csv").unlink()
    config = folder / "configs" / "parsed.yaml"
    config.write_text(config.read_text().replace("particle-image-system", "ancestral-sampling-system"))


def add_answers(folder: Path, shade: int, truth: tuple[int, int, int] = (9, 9, 9)) -> None:
    """Make a trial one of inverse problems: three answers to each of RESTORED, whose color `shade` sets."""
    values = {
        "psnr": 20.5,
        "psnr_of_mean": 22.0,
        "diversity_clip": 0.1,
        "diversity_dino": shade / 255,
    }
    metrics = {"n_particles": 3, "steps": 20, "mean": values | {"residual": 0.01}}
    (folder / "save" / "metrics.json").write_text(json.dumps(metrics))
    for number, name in enumerate(RESTORED):
        images = {f"particle_{index:02d}": (shade, 80 * index, 0) for index in range(3)}
        images |= {"particle_00_x": (0, 0, 0), "measurement": (0, number, 0), "truth": truth}
        images |= {"mean": (shade, 1, 1), "deviation": (shade, 2, 2)}
        (folder / "save" / "test" / name).mkdir(parents=True)
        for stem, color in images.items():
            Image.new("RGB", (64, 64), color).save(folder / "save" / "test" / name / f"{stem}.png")


def add_turntable(folder: Path, views: int = 4) -> None:
    """Make a trial one of 3D objects: a contact sheet and a video."""
    import imageio.v3 as imageio

    metrics = json.loads((folder / "save" / "metrics.json").read_text())
    (folder / "save" / "metrics.json").write_text(json.dumps(metrics | {"views": views, "view_accuracy": 0.5}))

    grid = folder / "save" / "it20-test.png"
    grid.rename(folder / "save" / "it20-test-sheet.png")
    frames = np.zeros((8, 32, 64, 3), dtype=np.uint8)
    imageio.imwrite(folder / "save" / "it20-test.mp4", frames, fps=8)


def make_sweep(folder: Path, left_out: bool = False) -> Path:
    """A sweep over gamma, prompt and seed; the last run has failed where `left_out`."""
    runs = []
    for (gamma, prompt, seed), color in COLORS.items():
        tag = f"gamma={gamma},seed={seed},prompt={PROMPTS.index(prompt)}"
        metrics = make_trial(folder / "runs" / tag, gamma, color, prompt, seed)
        settings = {"seed": seed, "system.prompt_processor.prompt": prompt, "system.guidance.gamma": gamma}
        runs.append({"tag": tag, "settings": settings, "state": "finished", "folder": f"runs/{tag}"})
        runs[-1] |= {"error": None, "metrics": metrics}
    if left_out:
        runs[-1] |= {"state": "failed", "error": "out of <memory>", "metrics": None}
    record = {"command": "rsd sweep --gamma 0,10", "config": "configs/text2image/sds.yaml", "grid": {}, "runs": runs}
    (folder / "sweep.json").write_text(json.dumps(record))
    return folder


def make_reproduction(folder: Path) -> Path:
    """A reproduction of two curve points, a bound and separate runs, with one case missing."""
    settings = []
    for label, curve, role, position in (
        ("VSD, gamma 0", "VSD", "method", 0),
        ("VSD, gamma 10", "VSD", "method", 10),
        ("sampling", None, "bound", None),
        ("separate runs", None, "independent", None),
    ):
        folders = [f"../runs/{label}-{i}".replace(" ", "_") for i in range(2 if role == "independent" else 1)]
        for each in folders:
            make_trial(folder / each, position or 0, n=1 if role == "independent" else 2)
        gain = 0.1 * len(settings)
        values = {"diversity_dino": 0.2 + gain, "diversity_clip": 0.1 + gain, "clip_score": 0.3 - gain / 5}
        figures = {key: {"mean": value, "interval": [value - 0.02, value + 0.03]} for key, value in values.items()}
        figures["frechet"] = {"mean": 30.0 - 50 * gain, "interval": None}
        settings.append({"label": label, "curve": curve, "role": role, "position": position, "config": "vsd.yaml"})
        settings[-1] |= {"overrides": {}, "figures": figures, "paper": {"diversity": 0.17, "aesthetic": 5.38}}
        settings[-1]["runs"] = [{"prompt": "a car", "seed": 0, "folders": folders, "values": values}]
    record = {"name": "fig3", "title": "Figure 3", "claim": "More <diversity>.", "command": "rsd reproduce fig3"}
    record |= {"versions": {"torch": "2.0"}, "prior": "bundled", "quick": False, "particles": 2, "steps": 20}
    record |= {"networks": {"guide": "dino", "held_out": "clip"}, "settings": settings}
    record["missing"] = [{"setting": "VSD, gamma 10", "prompt": "a car", "seed": 1, "error": "killed"}]
    (folder / "reproduction.json").write_text(json.dumps(record))
    return folder


def make_table(folder: Path) -> Path:
    """A table of solvers; RSD with gamma 0 and 10 is a curve."""
    rows = {}
    for label, settings in {
        "PSLD": {"name": "psld"},
        "RSD, gamma 0, ours": {"x_step": "adam"},
        "RSD, gamma 10, ours": {"x_step": "adam", "gamma": 10.0},
    }.items():
        made_with = {"settings": settings, "prior": "bundled", "images": 3, "n_particles": 2, "steps": 9, "seed": 0}
        values = {
            "psnr": [20.0, 21.0, 25.0 + len(rows)],
            "diversity": [0.1, 0.2, 0.3],
            "diversity_clip": [0.1, 0.2, 0.2],
        }
        rows[label] = {"made_with": made_with | {"operator": {"name": "half-box"}}, "values": values, "frechet": 99.0}
        rows[label]["seconds_per_step_and_image"] = 0.1
        Image.new("RGB", (20, 40)).save(folder / f"{label.lower().replace(',', '').replace(' ', '-')}.png")
    rows["PSLD"]["paper"] = {"psnr": 21.33, "frechet": 57.7}
    record = {"title": "Table 1", "command": "rsd reproduce table1", "floor_frechet": 50.0, "rows": rows}
    (folder / "table.json").write_text(json.dumps(record))
    return folder
