"""Diversity and quality of N text-to-3D objects: independent runs, and runs together without and with repulsion.

    python benchmarks/text2nerf_diversity.py --output outputs/text2nerf-diversity

Runs are `rsd launch` on configs/text2nerf/dreamfusion-bundled.yaml; finished runs are not repeated. An independent run
has one particle and its own seed; N independent runs are measured together, like N particles of one run.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import torch
from PIL import Image
from threestudio_rsd.files import data_path
from threestudio_rsd.images.reading import to_tensor
from threestudio_rsd.metrics import view_diversity
from threestudio_rsd.metrics.statistics import estimate
from threestudio_rsd.repulsion import load_features
from threestudio_rsd.text_tables import format_table
from threestudio_rsd.toyworld import ToyworldJudge, judge_objects
from threestudio_rsd.toyworld.captions import named_attributes

CONFIG = "configs/text2nerf/dreamfusion-bundled.yaml"
PROMPTS = ("a mushroom", "a car", "a rocket")
VIEWS = 8
VARIANTS = {
    "independent": {"gamma": 0.0, "kernel_input": "clean"},
    "together, gamma 0": {"gamma": 0.0, "kernel_input": "clean"},
    "gamma 20, noisy": {"gamma": 20.0, "kernel_input": "noisy"},
    "gamma 20, clean": {"gamma": 20.0, "kernel_input": "clean"},
}


def launch(folder: Path, prompt: str, seed: int, n_particles: int, steps: int, settings: dict) -> Path:
    """Run unless finished; return the folder that has a folder of views for each particle."""
    views = folder / "save" / f"it{steps}-test"
    if not (folder / "save" / "metrics.json").is_file():
        command = [sys.executable, "-m", "threestudio_rsd.cli", "launch", "--config", CONFIG, "--train"]
        overrides = {
            "exp_root_dir": folder.parent.parent,
            "name": folder.parent.name,
            "tag": folder.name,
            "use_timestamp": "false",
            "seed": seed,
            "system.prompt_processor.prompt": prompt,
            "system.geometry.n_particles": n_particles,
            "data.batch_size": n_particles,
            "data.n_test_views": VIEWS + 1,  # the last view repeats the first
            "trainer.max_steps": steps,
            "trainer.val_check_interval": steps,
            "trainer.enable_progress_bar": "false",
            "system.metrics_every": 0,
            **{f"system.guidance.{key}": value for key, value in settings.items()},
        }
        subprocess.run([*command, *(f"{key}={value}" for key, value in overrides.items())], check=True)
    return views


def read_views(folder: Path) -> torch.Tensor:
    """Views of one particle, (V, 3, H, W)."""
    images = [to_tensor(Image.open(folder / f"{index}.png").convert("RGB")) for index in range(VIEWS)]
    return torch.stack([image[..., : image.shape[-2]] for image in images])  # the opacity is to the right of the colors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    parser.add_argument("-n", "--n-particles", type=int, default=4, help="number of particles N")
    parser.add_argument("--steps", type=int, default=300, help="steps of each run")
    parser.add_argument("--output", type=Path, default=Path("outputs/text2nerf-diversity"), help="folder of the runs")
    args = parser.parse_args()
    n = args.n_particles
    judge = ToyworldJudge.from_folder(data_path("load/toyworld/judge"))
    networks = {name: load_features(name, bundled=True) for name in ("dino", "clip")}
    azimuth, elevation = torch.arange(VIEWS) * 360.0 / VIEWS, torch.full((VIEWS,), 15.0)
    found: dict[str, list[dict]] = {name: [] for name in VARIANTS}
    for seed in range(args.seeds):
        for prompt in PROMPTS:
            for variant, settings in VARIANTS.items():
                where = args.output / prompt.replace(" ", "-")
                name = f"{variant.replace(',', '').replace(' ', '-')}-seed{seed}"
                if variant == "independent":
                    runs = [
                        launch(where / f"{name}-{i}", prompt, 1000 + n * seed + i, 1, args.steps, settings)
                        for i in range(n)
                    ]
                    folders = [run / "particle_00" for run in runs]
                else:
                    run = launch(where / name, prompt, seed, n, args.steps, settings)
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
            cells.append(f"{found_estimate.mean:.2f} [{found_estimate.low:.2f}, {found_estimate.high:.2f}]")
        rows.append(cells)
    print(format_table(["", *headings], rows))


if __name__ == "__main__":
    main()
