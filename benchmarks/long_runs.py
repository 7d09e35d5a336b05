"""Memory, handles, threads and processes of long runs: do they stay as they were after the first steps?

    OMP_NUM_THREADS=1 python benchmarks/long_runs.py
    OMP_NUM_THREADS=1 python benchmarks/long_runs.py --systems sds inverse --steps 300 --early 100

Each system trains in a process of its own, with validations, checkpoints and logs, on the bundled prior. The table
compares the samples of a run with the one at the early step: the largest resident size and number of Python objects and
tensors as ratios, handles, threads and child processes as numbers. Linux only: the figures come from /proc.
"""

import argparse
import gc
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytorch_lightning as pl
import torch
from threestudio_rsd.files import data_path
from threestudio_rsd.runs.launching import register_modules
from threestudio_rsd.standalone.engine.checks import make_output_folder
from threestudio_rsd.standalone.engine.launch import prepare
from threestudio_rsd.text_tables import format_table

TWO_D = ["system.particles.n_particles=2", "system.metrics_every=10"]
THREE_D = [
    "system.geometry.n_particles=2",
    *("data.batch_size=2", "data.width=16", "data.height=16"),
    *("data.eval_width=16", "data.eval_height=16", "data.n_val_views=1", "data.n_test_views=1"),
    "system.renderer.particle.num_samples_per_ray=16",
]
SYSTEMS = {  # config and overrides
    "sds": ("configs/text2image/sds.yaml", TWO_D),
    "vsd": ("configs/text2image/vsd.yaml", TWO_D),
    "inverse": (
        "configs/inverse/half-box.yaml",
        [
            "data.image_path=load/inverse/examples/car.png",
            *("system.solver.n_particles=2", "system.solver.n_steps={steps}", "system.lpips=false"),
        ],
    ),
    "3d": ("configs/text2nerf/dreamfusion-bundled.yaml", THREE_D),
}
TRAINER = [
    *("trainer.enable_progress_bar=false", "trainer.log_every_n_steps=10", "use_timestamp=false", "tag=long"),
    *("trainer.max_steps={steps}", "trainer.val_check_interval={every}", "checkpoint.every_n_train_steps={every}"),
]
SAMPLES = 8  # measurements between the early step and the end
VALIDATIONS = 8  # of a run
GROWING = ("resident", "objects", "tensors")  # fields of Sample that the table has as ratios
COUNTED = ("handles", "threads", "children")  # fields that it has as numbers


@dataclass
class Sample:
    """State of the process after a step.

    Attributes:
        step: number of steps done.
        resident: resident size in bytes.
        objects: Python objects that the garbage collector tracks.
        tensors: tensors among them.
        handles: open file descriptors.
        threads: threads of the process.
        children: child processes.
        seconds: median time of a step since the sample before.
    """

    step: int
    resident: int
    objects: int
    tensors: int
    handles: int
    threads: int
    children: int
    seconds: float


class Sampler(pl.Callback):
    """Takes a `Sample` after each of some steps.

    Args:
        steps: numbers of steps, ascending.
    """

    def __init__(self, steps: Sequence[int]) -> None:
        self.steps = steps
        self.samples: list[Sample] = []
        self._seconds: list[float] = []
        self._started = 0.0

    def on_train_batch_start(self, *args) -> None:
        self._started = time.perf_counter()

    def on_train_batch_end(self, trainer, *args) -> None:
        self._seconds.append(time.perf_counter() - self._started)
        if trainer.global_step in self.steps:
            self.samples.append(take_sample(trainer.global_step, statistics.median(self._seconds)))
            self._seconds = []


def take_sample(step: int, seconds: float) -> Sample:
    """Sample of this process."""
    gc.collect()
    objects = gc.get_objects()
    own = Path("/proc/self")
    return Sample(
        step=step,
        resident=int((own / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
        objects=len(objects),
        tensors=sum(issubclass(type(each), torch.Tensor) for each in objects),
        handles=_count(own / "fd"),
        threads=_count(own / "task"),
        children=sum(len(file.read_text().split()) for file in own.glob("task/*/children")),
        seconds=seconds,
    )


def train(name: str, steps: int, early: int, overrides: Sequence[str] = ()) -> list[Sample]:
    """Train a system in this process.

    Args:
        name: one of SYSTEMS.
        steps: length of the run.
        early: step of the first sample.
        overrides: further values of the config.

    Returns:
        Samples from the early step to the end.
    """
    torch.set_num_threads(1)
    register_modules()
    config, own = SYSTEMS[name]
    places = {"steps": steps, "every": max(1, steps // VALIDATIONS)}
    with tempfile.TemporaryDirectory() as folder:
        values = [value.format(**places) for value in (f"exp_root_dir={folder}", *own, *TRAINER)]
        values = [value.replace("=load/", f"={data_path('load')}/") for value in values]
        run = prepare(str(data_path(config)), "train", [*values, *overrides])
        make_output_folder(run.cfg.trial_dir)
        sampler = Sampler([early + (steps - early) * index // SAMPLES for index in range(SAMPLES + 1)])
        run.trainer.callbacks.append(sampler)
        run.trainer.fit(run.system, datamodule=run.data)
    return sampler.samples


def train_in_new_process(*arguments) -> list[Sample]:
    """`train` in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(train, arguments)


def describe(samples: Sequence[Sample]) -> list[str]:
    """Cells of the table: the largest later values, compared with those of the first sample."""
    first, *later = samples
    highest = {key: max(getattr(each, key) for each in later) for key in (*GROWING, *COUNTED)}
    return [
        f"{first.resident / 2**20:.0f}",
        *(f"{highest[key] / getattr(first, key):.3f}" for key in GROWING),
        *(f"{getattr(first, key)} to {highest[key]}" for key in COUNTED),
        f"{later[-1].seconds / first.seconds:.2f}",
    ]


def _count(folder: Path) -> int:
    return sum(1 for _ in folder.iterdir())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS), help="all by default")
    parser.add_argument("--steps", type=int, default=2000, help="steps of each run")
    parser.add_argument("--early", type=int, default=200, help="step that the others are compared with")
    args = parser.parse_args()
    rows = []
    for name in args.systems:
        rows.append([name, *describe(train_in_new_process(name, args.steps, args.early))])
        print(f"{name}: {args.steps} steps done", flush=True)
    ratios = [f"x {key}" for key in GROWING]
    print(format_table(["system", "MiB", *ratios, *COUNTED, "x step time"], rows))


if __name__ == "__main__":
    main()
