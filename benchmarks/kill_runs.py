"""Kills runs with SIGKILL at random moments, resumes them, and compares their particles with those of a whole run.

    python -m benchmarks.kill_runs --kills 6 --output /tmp/kills

Half of the kills are at a random time after the start, the others while a checkpoint is being written. A run is killed
again and again until it has been killed often enough, and is then completed. Prints a line for each system; the exit
code is 1 if a particle, a state of an optimizer or a row of the curves differs in one bit from those of the whole run.
"""

import argparse
import csv
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from threestudio_rsd.files import UNFINISHED
from threestudio_rsd.runs.preloaded import Fork

STEPS = 12
POLL_SECONDS = 0.002
IMAGES = ("system.particles.n_particles=2", "system.metrics_every=0", "system.diversity_features=[]")
INVERSE = (
    "data.image_path=load/inverse/examples/mushroom.png",
    "system.solver.n_particles=2",
    f"system.solver.n_steps={STEPS}",
    "system.lpips=false",
)
NERF = (
    "system.geometry.n_particles=2",
    "data.batch_size=2",
    "data.width=16",
    "data.height=16",
    "data.n_test_views=2",
    "data.n_val_views=1",
    "system.metrics_every=0",
    "system.diversity_features=[]",
)
CASES: dict[str, tuple[str, tuple[str, ...]]] = {  # name -> config, overrides
    "sds": ("text2image/sds.yaml", IMAGES),
    "vsd": ("text2image/vsd.yaml", (*IMAGES, "system.guidance.gamma=0")),
    "nfsd": ("text2image/nfsd.yaml", (*IMAGES, "system.guidance.gamma=0")),
    "svgd": ("text2image/svgd.yaml", IMAGES),
    "flow": ("text2image/flow.yaml", (*IMAGES, "system.guidance.gamma=0")),
    "inverse": ("inverse/half-box.yaml", (*INVERSE, "system.solver.gamma=0")),
    "red-diff": ("inverse/half-box-latent-reddiff.yaml", (*INVERSE, "system.solver.gamma=0")),
    "nerf": ("text2nerf/dreamfusion-bundled.yaml", (*NERF, "system.guidance.gamma=0")),
}


def command(case: str, folder: Path, steps: int) -> list[str]:
    """Command that starts a run, or resumes it from its last checkpoint."""
    config, overrides = CASES[case]
    place = [f"exp_root_dir={folder.parent.parent}", f"name={folder.parent.name}", f"tag={folder.name}"]
    settings = [
        f"trainer.max_steps={steps}",
        "trainer.log_every_n_steps=1",
        "trainer.val_check_interval=5",
        "trainer.limit_val_batches=1",
        "trainer.limit_test_batches=0",
        "checkpoint.every_n_train_steps=1",
        "checkpoint.save_top_k=0",
        "use_timestamp=false",
    ]
    last = folder / "ckpts" / "last.ckpt"
    resume = [f"resume={last}"] if last.is_file() else []
    launch = [sys.executable, "-m", "threestudio_rsd.cli", "launch", "--config", f"configs/{config}", "--train"]
    return [*launch, *overrides, *place, *settings, *resume]


def start(case: str, folder: Path, steps: int) -> Fork:
    log = folder.parent / f"{folder.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    return Fork(command(case, folder, steps), log, {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"})


def complete(case: str, folder: Path, steps: int) -> None:
    """Run to the end."""
    run = start(case, folder, steps)
    while (code := run.poll()) is None:
        time.sleep(0.05)
    if code != 0:
        raise RuntimeError(f"{case} ended with exit code {code}: see {folder.parent / folder.name}.log")


def kill(case: str, folder: Path, steps: int, delay: float | None) -> str | None:
    """Start a run and kill it.

    Args:
        case: name of the system.
        folder: trial folder.
        steps: number of steps.
        delay: seconds after the first checkpoint of this start; None: while a checkpoint is written.

    Returns:
        What it was doing; None if it ended before.
    """
    run = start(case, folder, steps)
    checkpoints = folder / "ckpts"
    begun = checkpoints.stat().st_mtime_ns if checkpoints.is_dir() else 0
    deadline = None
    while run.poll() is None:
        unfinished = list(checkpoints.glob(f"*{UNFINISHED}*")) if checkpoints.is_dir() else []
        if deadline is None and checkpoints.is_dir() and checkpoints.stat().st_mtime_ns != begun and not unfinished:
            deadline = time.monotonic() + (delay or 0.0)
        is_due = bool(unfinished) if delay is None else deadline is not None and time.monotonic() > deadline
        if is_due and deadline is not None:
            os.killpg(run.pid, signal.SIGKILL)
            while run.poll() is None:
                time.sleep(POLL_SECONDS)
            return "writing a checkpoint" if list(checkpoints.glob(f"*{UNFINISHED}*")) else "running"
        time.sleep(POLL_SECONDS)
    return None


def differences(one: Any, other: Any, key: str = "") -> Iterator[str]:
    """Keys of the values of two checkpoints that are not the same bits."""
    if isinstance(one, torch.Tensor):
        if one.shape != other.shape or one.dtype != other.dtype or not torch.equal(one, other):
            yield key
    elif isinstance(one, dict):
        for name in one.keys() | other.keys():
            if name not in one or name not in other:
                yield f"{key}.{name}"
            else:
                yield from differences(one[name], other[name], f"{key}.{name}")
    elif isinstance(one, list | tuple):
        for index, pair in enumerate(zip(one, other, strict=True)):
            yield from differences(*pair, f"{key}.{index}")
    elif one != other:
        yield key


def state(folder: Path) -> dict[str, Any]:
    """What a run has computed: parameters, optimizers, solver and curves."""
    checkpoint = torch.load(folder / "ckpts" / "last.ckpt", weights_only=True)
    with (folder / "csv_logs" / "version_0" / "metrics.csv").open(newline="") as file:
        curves = [
            {name: value for name, value in row.items() if not name.startswith("lr-")} for row in csv.DictReader(file)
        ]
    kept = {key: checkpoint.get(key) for key in ("global_step", "state_dict", "optimizer_states", "solver")}
    return {**kept, "curves": curves}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=CASES)
    parser.add_argument("--kills", type=int, default=6, help="kills of each system")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seconds", type=float, default=1.0, help="longest time from a first checkpoint to a kill")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("outputs/kill_runs"))
    args = parser.parse_args()
    chance = random.Random(args.seed)
    total = wrong = 0
    for case in args.cases:
        whole, killed = args.output / case / "whole", args.output / case / "killed"
        complete(case, whole, args.steps)
        found: list[str] = []
        for index in range(args.kills):
            delay = chance.uniform(0, args.seconds) if index % 2 else None
            what = kill(case, killed, args.steps, delay)
            if what is None:
                break
            found.append(what)
        complete(case, killed, args.steps)
        different = list(differences(state(whole), state(killed)))
        total, wrong = total + len(found), wrong + bool(different)
        writing = found.count("writing a checkpoint")
        result = f"DIFFERS in {', '.join(different[:5])}" if different else "same bits"
        print(f"{case:<10} {len(found)} kills, {writing} while a checkpoint was written: {result}", flush=True)
    print(f"{total} kills, {wrong} of {len(args.cases)} systems differ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
