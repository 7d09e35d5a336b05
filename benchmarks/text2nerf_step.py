"""Time of a text-to-3D step with N particles, rendered one after the other or in one call.

    OMP_NUM_THREADS=1 python benchmarks/text2nerf_step.py

Times are ratios to the step of one particle at gamma 0 and the same image size. All variants step in turn, so that a
busy machine slows them alike.
"""

import argparse
import time
import warnings
from typing import Any

import torch
from threestudio_rsd.costs.timing import synchronize
from threestudio_rsd.files import data_path
from threestudio_rsd.host import find, get_device, load_config, parse_optimizer
from threestudio_rsd.runs.launching import register_modules
from threestudio_rsd.text_tables import format_table

CONFIG = "configs/text2nerf/dreamfusion-bundled.yaml"
# Forces that cost less than the full decoder in each step.
FORCES: dict[str, dict[str, Any]] = {
    "full decoder": {"feature_decoder": "full"},
    "full decoder, every 4 steps": {"feature_decoder": "full", "repulsion_every": 4},
    "linear decoder": {"feature_decoder": "linear"},
    "renders": {"feature_decoder": "render"},
    "renders, every 2 steps": {"feature_decoder": "render", "repulsion_every": 2},
}
N_FORCES = 8  # particles for which forces are compared


class Steps:
    """A system with its data and optimizer, stepped without a trainer."""

    def __init__(self, n_particles: int, size: int, batched: bool, gamma: float, **guidance: Any) -> None:
        register_modules()
        torch.manual_seed(0)
        overrides = {
            "system.geometry.n_particles": n_particles,
            "data.batch_size": n_particles,
            "data.width": size,
            "data.height": size,
            "system.renderer.batched": str(batched).lower(),
            "system.guidance.gamma": gamma,
            **{f"system.guidance.{key}": value for key, value in guidance.items()},
        }
        cfg = load_config(str(data_path(CONFIG)), cli_args=[f"{key}={value}" for key, value in overrides.items()])
        self.data = find(cfg.data_type)(cfg.data)
        self.data.setup("fit")
        self.batches = iter(self.data.train_dataloader())
        self.system = find(cfg.system_type)(cfg.system).to(get_device())
        self.system.make_guidance()
        self.optimizer = parse_optimizer(cfg.system.optimizer, self.system)
        self.seconds: list[float] = []

    def step(self, index: int) -> None:
        started = time.perf_counter()
        self.system.do_update_step(0, index)
        batch = {key: on_device(value) for key, value in next(self.batches).items()}
        loss = self.system.training_step(batch, index)["loss"]
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        synchronize()
        self.seconds.append(time.perf_counter() - started)

    def median(self) -> float:
        return sorted(self.seconds[1:])[len(self.seconds[1:]) // 2]


def on_device(value: Any) -> Any:
    """A value of a batch, moved to the device if it is a tensor."""
    return value.to(get_device()) if torch.is_tensor(value) else value


def compare_forces(size: int, steps: int) -> None:
    """Print the mean time of a step with each force, as a ratio to that of a step without."""
    plain = Steps(N_FORCES, size, False, 0.0)
    runs = {name: Steps(N_FORCES, size, False, 20.0, **options) for name, options in FORCES.items()}
    for index in range(steps + 1):
        for run in (plain, *runs.values()):
            run.step(index)
    rows = [[name, f"{sum(run.seconds[1:]) / sum(plain.seconds[1:]):.2f}"] for name, run in runs.items()]
    print(format_table([f"{size} px, N = {N_FORCES}, gamma 20 / gamma 0", "ratio"], rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=16, help="steps timed of each variant")
    parser.add_argument("--forces", action="store_true", help="compare forces in place of numbers of particles")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    if args.forces:
        compare_forces(64, args.steps)
        return
    rows = []
    for size in (32, 64):
        runs = {
            (n, batched, gamma): Steps(n, size, batched, gamma)
            for n in (1, 4, 8)
            for batched in (False, True)
            for gamma in (0.0, 20.0)
        }
        for index in range(args.steps):
            for run in runs.values():
                run.step(index)
        unit = runs[1, False, 0.0].median()
        for n in (1, 4, 8):
            cells = [runs[n, batched, gamma].median() / unit for gamma in (0.0, 20.0) for batched in (False, True)]
            rows.append([f"{size} px, N = {n}", *(f"{cell:.2f}" for cell in cells)])
        print(f"{size} px: a step of one particle at gamma 0 took {unit:.3f} s", flush=True)
    print(format_table(["", "gamma 0, loop", "one call", "gamma 20, loop", "one call"], rows))


if __name__ == "__main__":
    main()
