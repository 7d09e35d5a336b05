"""`rsd toyworld train`: rebuild the bundled world's networks from a seed, several trainings at a time."""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from tqdm import tqdm

from ..errors import UserError, one_of
from ..toyworld.training import data, settings
from ..toyworld.training.release import release
from ..toyworld.training.stages import STAGES, run_stage

POLL_SECONDS = 2.0
# Without these the allocator of glibc hands large blocks back after every step.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "1000000000", "MALLOC_TRIM_THRESHOLD_": "1000000000"}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="rsd toyworld train", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("outputs/toyworld"), help="work folder (%(default)s)")
    parser.add_argument(
        "--only", nargs="+", default=list(STAGES), metavar="NAME", help=f"some of: {', '.join(STAGES)}; all by default"
    )
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="trainings at a time, one thread each (%(default)s)"
    )
    parser.add_argument(
        "--release", type=Path, metavar="FOLDER", help="where the finished networks are put (OUTPUT/release)"
    )
    parser.add_argument(
        "--share", type=float, default=1.0, help="of the images and steps, to try the command (%(default)s: all)"
    )
    arguments = parser.parse_args(argv)
    for name in arguments.only:
        one_of("--only", name, tuple(STAGES))
    if arguments.workers < 1:
        raise UserError(f"--workers {arguments.workers} is impossible; accepted: 1 or more.")
    if not 0 < arguments.share <= 1:
        raise UserError(f"--share {arguments.share} is impossible; accepted: above 0, at most 1.")
    _check_share(arguments.output, arguments.share)
    settings.shorten(arguments.share)
    code = rebuild(arguments.output, arguments.only, arguments.workers)
    destination = arguments.release or arguments.output / "release"
    for name in release(arguments.output, destination):
        print(f"{name}: {destination / name}")
    return code


def rebuild(work: Path, names: list[str], workers: int) -> int:
    """Render what is missing, then run the trainings that are not done; a second call goes on where this one stops.

    Returns the exit code: 0, or 1 where a training failed.
    """
    work.mkdir(parents=True, exist_ok=True)
    _render(work, workers)
    waiting = [name for name in STAGES if name in names and not _done(work, name)]
    bars = {name: tqdm(desc=name, position=i, unit="step") for i, name in enumerate(waiting)}
    running: dict[str, subprocess.Popen] = {}
    failed: list[str] = []
    with _stopping(running):
        while waiting or running:
            for name in [name for name in waiting if all(_done(work, need) for need in STAGES[name].needs)]:
                if len(running) < workers:
                    running[name] = _start(["stage", str(work), name], work / f"{name}.txt")
                    waiting.remove(name)
            for name, process in list(running.items()):
                _show(bars[name], work, name)
                if process.poll() is not None:
                    del running[name]
                    if process.returncode != 0:
                        failed.append(name)
            if not running and waiting:
                failed += waiting
                break
            time.sleep(POLL_SECONDS)
    for bar in bars.values():
        bar.close()
    for name in failed:
        print(f"{name} has failed or waits for one that has: see {work / f'{name}.txt'}", file=sys.stderr)
    return 1 if failed else 0


def _check_share(work: Path, share: float) -> None:
    """Note the share in the work folder. Raises UserError where the folder was begun with another."""
    file = work / "share.json"
    begun = json.loads(file.read_text()) if file.is_file() else share
    if begun != share:
        raise UserError(
            f"--output {str(work)!r} was begun with --share {begun}; go on with that, or name a new folder."
        )
    work.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(share))


def _render(work: Path, workers: int) -> None:
    """Render the shards that are missing, in as many processes as there are workers."""
    folder = work / "data"
    missing = [seed for seed in data.all_seeds() if not data.shard_file(folder, seed).is_file()]
    processes = {
        str(i): _start(["render", str(work), *map(str, missing[i::workers])], work / "rendering.txt")
        for i in range(min(workers, len(missing)))
    }
    with _stopping(processes), tqdm(total=len(missing), desc="rendering", unit="shard", disable=not missing) as bar:
        while any(process.poll() is None for process in processes.values()):
            time.sleep(POLL_SECONDS)
            bar.n = sum(data.shard_file(folder, seed).is_file() for seed in missing)
            bar.refresh()
    if any(process.returncode != 0 for process in processes.values()):
        raise UserError(f"Rendering has failed: see {str(work / 'rendering.txt')!r}.")


def _start(arguments: list[str], log: Path) -> subprocess.Popen:
    environment = {**os.environ, **ALLOCATOR, "OMP_NUM_THREADS": "1"}
    with open(log, "a") as output:
        return subprocess.Popen(
            [sys.executable, "-m", __name__, *arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
        )


@contextmanager
def _stopping(processes: dict[str, subprocess.Popen]) -> Iterator[None]:
    """Stop the processes that still run when the block is left early, as by Ctrl-C; their checkpoints stay."""
    try:
        yield
    finally:
        for process in processes.values():
            if process.poll() is None:
                process.terminate()


def _done(work: Path, name: str) -> bool:
    return (work / f"{name}.done").is_file()


def _show(bar: tqdm, work: Path, name: str) -> None:
    """Bring a training's bar up to its log."""
    log = work / "trainings" / name / "log.jsonl"
    if not log.is_file():
        return
    lines = log.read_text().splitlines()
    if lines:
        entry = json.loads(lines[-1])
        bar.total, bar.n = entry["steps"], entry["step"]
        bar.set_postfix(loss=f"{entry['loss']:.4f}")


def _child(argv: list[str]) -> None:
    """A process of its own, one thread: `render WORK SEED...` or `stage WORK NAME`."""
    torch.set_num_threads(1)
    kind, work, *rest = argv
    share = Path(work) / "share.json"
    settings.shorten(json.loads(share.read_text()))
    if kind == "render":
        data.render_shards(Path(work) / "data", [int(seed) for seed in rest])
    else:
        run_stage(rest[0], Path(work))


if __name__ == "__main__":
    _child(sys.argv[1:])
