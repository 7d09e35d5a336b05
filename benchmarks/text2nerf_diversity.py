"""Diversity and quality of N text-to-3D objects: independent runs, runs together, repulsion, and fixed noise.

    OMP_NUM_THREADS=1 python benchmarks/text2nerf_diversity.py --settings "independent;gamma 20 clean;flow"

Runs are `rsd launch` on configs/text2nerf/ and configs/text2gaussians/; finished runs are not repeated. An independent
run has one particle and its own seed; N independent runs are measured together, like N particles of one run.
"""

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from threestudio_rsd.files import data_path
from threestudio_rsd.images.reading import to_tensor
from threestudio_rsd.metrics import view_diversity
from threestudio_rsd.metrics.statistics import estimate
from threestudio_rsd.repulsion import load_features
from threestudio_rsd.runs.grid import parse_seeds
from threestudio_rsd.text_tables import format_table
from threestudio_rsd.toyworld import ToyworldJudge, judge_objects
from threestudio_rsd.toyworld.captions import named_attributes

DREAMFUSION, FLOW = "configs/text2nerf/dreamfusion-bundled.yaml", "configs/text2nerf/flow-bundled.yaml"
GAUSSIANS, GAUSSIANS_FLOW = (path.replace("text2nerf", "text2gaussians") for path in (DREAMFUSION, FLOW))
PROMPTS = ("a mushroom", "a car", "a rocket")
VIEWS = 8


@dataclass
class Setting:
    """One setting that is compared.

    Attributes:
        config: YAML file.
        guidance: values of system.guidance.
        views: views per particle and step.
        values: other values of the config.
        step_share: steps of the run as a share of --steps, for equal network calls.
    """

    config: str = FLOW
    guidance: dict[str, Any] = field(default_factory=dict)
    views: int = 1
    values: dict[str, Any] = field(default_factory=dict)
    step_share: float = 1.0


PAIRS = {"data.opposite_views": True}
FRESH = {"gamma": 0.0, "kernel_input": "clean"}
FULL = {"gamma": 20.0, "kernel_input": "clean", "feature_decoder": "full"}


def refreshed(rate: float) -> Setting:
    return Setting(guidance={"noise": "refreshed", "noise_refresh_rate": rate})


SETTINGS = {
    "independent": Setting(DREAMFUSION, FRESH),
    "together gamma 0": Setting(DREAMFUSION, FRESH),
    "gamma 20 noisy": Setting(DREAMFUSION, FULL | {"kernel_input": "noisy"}),
    "gamma 20 clean": Setting(DREAMFUSION, FULL),
    "gamma 80 clean, every 4 steps": Setting(DREAMFUSION, FULL | {"gamma": 80.0, "repulsion_every": 4}),
    "gamma 20 renders": Setting(DREAMFUSION, FULL | {"feature_decoder": "render"}),
    "gamma 20 linear": Setting(DREAMFUSION, FULL | {"feature_decoder": "linear"}),
    "flow": Setting(),  # flow-bundled.yaml: constant noise, then a world map that moves with the front of the object
    "flow, constant noise": Setting(guidance={"view_noise": "constant", "world_map_interval": "null"}),
    "flow, world map": Setting(guidance={"world_map_interval": "null"}),
    "flow, world map at infinity": Setting(guidance={"world_map_interval": "null", "world_map_fov": 40.0}),
    "flow, selected noise": Setting(guidance={"noise_candidates": 64}),
    "flow, not coupled": Setting(guidance={"noise_coupled": False}),
    "flow, refreshed 1e-4": refreshed(1e-4),
    "flow, refreshed 1e-3": refreshed(1e-3),
    "flow, refreshed 1e-2": refreshed(1e-2),
    "flow, guidance everywhere": Setting(guidance={"guidance_interval": "[0,.inf]"}),
    "flow, guidance up to 12": Setting(guidance={"guidance_interval": "[0.28,12]"}),
    "flow, w 10 up to 8": Setting(guidance={"guidance_scale": 10.0, "guidance_interval": "[0.28,8]"}),
    "flow, w 10 up to 2.9": Setting(guidance={"guidance_scale": 10.0, "guidance_interval": "[0.28,2.9]"}),
    "flow, w 5 up to 2.9": Setting(guidance={"guidance_scale": 5.0, "guidance_interval": "[0.28,2.9]"}),
    "flow, target of 1 step": Setting(guidance={"weighting_strategy": "snr", "inner_steps": 1}),
    "flow, target of 5 steps": Setting(guidance={"weighting_strategy": "snr", "inner_steps": 5}),
    "flow, 4 views": Setting(views=4, values=PAIRS, step_share=0.25),
    "flow, 2 views": Setting(views=2, values=PAIRS, step_share=0.5),
    "flow, gamma 5": Setting(guidance={"gamma": 5.0}),
    "flow, gamma 20": Setting(guidance={"gamma": 20.0}),
    "flow, gamma 20 at high noise": Setting(guidance={"gamma": 20.0, "repulsion_interval": "[3,.inf]"}),
    "gaussians, together gamma 0": Setting(GAUSSIANS, FRESH),
    "gaussians, gamma 20 clean": Setting(GAUSSIANS, {"gamma": 20.0, "kernel_input": "clean"}),
    "gaussians, flow": Setting(GAUSSIANS_FLOW),
    "gaussians, flow, gamma 5": Setting(GAUSSIANS_FLOW, {"gamma": 5.0}),
    "gaussians, flow, gamma 20": Setting(GAUSSIANS_FLOW, {"gamma": 20.0}),
    "gaussians, flow, constant noise": Setting(
        GAUSSIANS_FLOW, {"view_noise": "constant", "world_map_interval": "null"}
    ),
    "gaussians, flow, selected noise": Setting(GAUSSIANS_FLOW, {"noise_candidates": 64}),
}


def run_unless_finished(folder: Path, prompt: str, seed: int, n_particles: int, steps: int, setting: Setting) -> Path:
    """Run in a process of its own; returns the folder that has a folder of views for each particle."""
    steps = round(steps * setting.step_share)
    views = folder / "save" / f"it{steps}-test"
    if not (folder / "save" / "metrics.json").is_file():
        command = [sys.executable, "-m", "threestudio_rsd.cli", "launch", "--config", setting.config, "--train"]
        overrides = {
            "exp_root_dir": folder.parent.parent,
            "name": folder.parent.name,
            "tag": folder.name,
            "use_timestamp": "false",
            "seed": seed,
            "system.prompt_processor.prompt": prompt,
            "system.geometry.n_particles": n_particles,
            "data.batch_size": n_particles * setting.views,
            "data.n_test_views": VIEWS + 1,  # the last view repeats the first
            "trainer.max_steps": steps,
            "trainer.val_check_interval": steps,
            "trainer.enable_progress_bar": "false",
            "system.metrics_every": 0,
            **{f"system.guidance.{key}": value for key, value in setting.guidance.items()},
            **setting.values,
        }
        subprocess.run([*command, *(f"{key}={value}" for key, value in overrides.items())], check=True)
    return views


def read_views(folder: Path) -> torch.Tensor:
    """Views of one particle, (V, 3, H, W)."""
    images = [to_tensor(Image.open(folder / f"{index}.png").convert("RGB")) for index in range(VIEWS)]
    return torch.stack([image[..., : image.shape[-2]] for image in images])  # the opacity is to the right of the colors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0:3", help="0:3 for 0 to 2, or a list such as 0,2")
    parser.add_argument("-n", "--n-particles", type=int, default=4, help="number of particles N")
    parser.add_argument("--steps", type=int, default=300, help="steps of each run")
    parser.add_argument("--prompts", default=",".join(PROMPTS), help="prompts, separated by commas")
    parser.add_argument("--settings", default="all", help="names of settings as in this file, separated by semicolons")
    parser.add_argument("--output", type=Path, default=Path("outputs/text2nerf-diversity"), help="folder of the runs")
    args = parser.parse_args()
    n = args.n_particles
    judge = ToyworldJudge.from_folder(data_path("load/toyworld/judge"))
    networks = {name: load_features(name, bundled=True) for name in ("dino", "clip")}
    azimuth, elevation = torch.arange(VIEWS) * 360.0 / VIEWS, torch.full((VIEWS,), 15.0)
    names = list(SETTINGS) if args.settings == "all" else args.settings.split(";")
    found: dict[str, list[dict]] = {name: [] for name in names}
    for variant in names:
        setting = SETTINGS[variant]
        for seed in parse_seeds(args.seeds):
            for prompt in args.prompts.split(","):
                where = args.output / prompt.replace(" ", "-")
                name = f"{variant.replace(',', '').replace(' ', '-')}-seed{seed}"
                if variant == "independent":
                    runs = [
                        run_unless_finished(where / f"{name}-{i}", prompt, 1000 + n * seed + i, 1, args.steps, setting)
                        for i in range(n)
                    ]
                    folders = [run / "particle_00" for run in runs]
                else:
                    run = run_unless_finished(where / name, prompt, seed, n, args.steps, setting)
                    folders = [run / f"particle_{i:02d}" for i in range(n)]
                images = torch.stack([read_views(folder) for folder in folders])
                record = judge_objects(images, azimuth, elevation, judge, named_attributes(prompt)[0])
                record |= view_diversity(images, networks)
                found[variant].append(record)
                print(prompt, seed, variant, json.dumps(record), flush=True)
    headings = ["colors", "class_accuracy", "view_accuracy", "dino", "clip"]
    rows = []
    for variant, records in found.items():
        cells = [variant]
        for key in headings:
            found_estimate = estimate([float(record[key]) for record in records])
            interval = "" if found_estimate.low is None else f" [{found_estimate.low:.2f}, {found_estimate.high:.2f}]"
            cells.append(f"{found_estimate.mean:.2f}{interval}")
        rows.append(cells)
    print(format_table(["", *headings], rows))


if __name__ == "__main__":
    main()
