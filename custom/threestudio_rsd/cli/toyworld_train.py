"""`rsd toyworld train`: train the bundled world's networks from a seed, several trainings at a time.

Each training is a process, which writes checkpoints and can be killed at any time. It starts when the trainings that it
needs are done. `process_map` has neither dependencies nor progress within an item, so this file starts the processes.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError, first_line
from ..files import make_folder
from ..names import TRAININGS
from ..signals import end_with_parent
from .options import CommandParser, Parsers, add_command, add_option, any_path, impossible, positive_float

if TYPE_CHECKING:
    from tqdm import tqdm

POLL_SECONDS = 2.0
TRAINS_WITH = {"torch": "2.1", "diffusers": "0.31", "transformers": "4.41"}  # oldest versions
# Without these, glibc's allocator returns large blocks to the system after every step.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "1000000000", "MALLOC_TRIM_THRESHOLD_": "1000000000"}


def add_parser(commands: Parsers) -> None:
    """Add `rsd toyworld train`."""
    add_command(
        commands,
        "train",
        run,
        _add_arguments,
        "Train the bundled world's networks from a seed, several trainings at a time.",
        "The same command again continues an interrupted training.",
    )


def run(args: argparse.Namespace) -> int:
    """Train the networks and copy the finished ones to the release folder.

    Raises:
        UserError: the libraries are too old, the work folder was begun with another --share, or rendering failed.
    """
    _check_libraries()
    from ..toyworld.training import settings
    from ..toyworld.training.release import release

    _check_share(args.output, args.share)
    settings.shorten(args.share)
    code = rebuild(args.output, args.only, args.workers)
    destination = args.release or args.output / "release"
    for name in release(args.output, destination):
        print(f"{name}: {destination / name}")
    return code


def _check_libraries() -> None:
    """Check that the libraries have what trainings use; the trained networks work with older ones."""
    from packaging import version

    for name, oldest in TRAINS_WITH.items():
        found = metadata.version(name)
        if version.parse(found) < version.parse(oldest):
            raise UserError(f"rsd toyworld train needs {name} {oldest} or newer, this is {found}.")


def _add_arguments(parser: CommandParser) -> None:
    add_option(
        parser, "--output", Path("outputs/toyworld"), "folder of the work, from which an interrupted training resumes"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=TRAININGS,
        default=list(TRAININGS),
        metavar="NAME",
        help=f"networks to train, some of {', '.join(TRAININGS)}; all by default",
    )
    add_option(parser, "--workers", os.cpu_count() or 1, "number of trainings at a time, of one thread each")
    parser.add_argument(
        "--release", type=any_path, metavar="FOLDER", help="folder of the finished networks; OUTPUT/release by default"
    )
    parser.add_argument(
        "--share", type=_share, default=1.0, help="share of the images and steps, to try the command in minutes"
    )


def _share(text: str) -> float:
    """Argument type: a number above 0, at most 1."""
    value = positive_float(text)
    if value > 1:
        raise impossible(text, "a number above 0, at most 1")
    return value


def rebuild(work: Path, names: Sequence[str], workers: int) -> int:
    """Render the images that are missing, then run the trainings that are not done.

    Args:
        work: work folder; a second call continues what is there.
        names: trainings, keys of `STAGES`.
        workers: number of processes at a time.

    Returns:
        Exit code: 0, or 1 if a training failed.
    """
    from tqdm import tqdm

    from ..toyworld.training.stages import STAGES

    work.mkdir(parents=True, exist_ok=True)
    _render(work, workers)
    waiting = [name for name in STAGES if name in names and not _is_done(work, name)]
    bars = {name: tqdm(desc=name, position=i, unit="step") for i, name in enumerate(waiting)}
    running: dict[str, subprocess.Popen] = {}
    failed: list[str] = []
    with _terminated_at_exit(running):
        while waiting or running:
            for name in [name for name in waiting if all(_is_done(work, need) for need in STAGES[name].needs)]:
                if len(running) < workers:
                    running[name] = _start(["stage", str(work), name], work / f"{name}.txt")
                    waiting.remove(name)
            for name in list(running):
                _show_progress(bars[name], work, name)
            failed += [name for name in _remove_ended(running) if not _is_done(work, name)]
            if not running and waiting:
                failed += waiting
                break
            time.sleep(POLL_SECONDS)
    for bar in bars.values():
        bar.close()
    for name in failed:
        print(f"{name} has failed or needs a training that has: see {work / f'{name}.txt'}", file=sys.stderr)
    return 1 if failed else 0


def _remove_ended(running: dict[str, subprocess.Popen]) -> list[str]:
    """Remove the processes that have ended; returns their names."""
    ended = [name for name, process in running.items() if process.poll() is not None]
    for name in ended:
        del running[name]
    return ended


def _check_share(work: Path, share: float) -> None:
    """Record the share in the work folder.

    Raises:
        UserError: the folder was begun with another share.
    """
    file = work / "share.json"
    try:
        begun = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else share
    except (OSError, ValueError) as error:
        raise UserError(f"{str(file)!r} is damaged ({first_line(error)}); choose another --output.") from error
    if begun != share:
        raise UserError(
            f"--output {str(work)!r} was begun with --share {begun}; accepted: the same share, or a new folder."
        )
    make_folder(work)
    file.write_text(json.dumps(share), encoding="utf-8")


def _render(work: Path, workers: int) -> None:
    """Render the shards that are missing, in up to `workers` processes."""
    from tqdm import tqdm

    from ..toyworld.training import data

    folder = work / "data"
    missing = [seed for seed in data.all_seeds() if not data.shard_file(folder, seed).is_file()]
    processes = {
        str(i): _start(["render", str(work), *map(str, missing[i::workers])], work / "rendering.txt")
        for i in range(min(workers, len(missing)))
    }
    with (
        _terminated_at_exit(processes),
        tqdm(total=len(missing), desc="rendering", unit="shard", disable=not missing) as bar,
    ):
        while any(process.poll() is None for process in processes.values()):
            time.sleep(POLL_SECONDS)
            bar.n = sum(data.shard_file(folder, seed).is_file() for seed in missing)
            bar.refresh()
    if any(process.returncode != 0 for process in processes.values()):
        raise UserError(f"Rendering has failed: see {str(work / 'rendering.txt')!r}.")


def _start(arguments: Sequence[str], log: Path) -> subprocess.Popen:
    """Start `main` in a process of one thread, whose output is appended to `log`."""
    environment = {**os.environ, **ALLOCATOR, "OMP_NUM_THREADS": "1"}
    with log.open("a") as output:
        return subprocess.Popen(
            [sys.executable, "-m", __name__, *arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            preexec_fn=end_with_parent(),  # noqa: PLW1509 a single system call
        )


@contextmanager
def _terminated_at_exit(processes: Mapping[str, subprocess.Popen]) -> Iterator[None]:
    """Terminate the processes that still run at the end of the block, for example after Ctrl-C; checkpoints stay."""
    try:
        yield
    finally:
        for process in processes.values():
            if process.poll() is None:
                process.terminate()


def _is_done(work: Path, name: str) -> bool:
    return (work / f"{name}.done").is_file()


def _show_progress(bar: "tqdm", work: Path, name: str) -> None:
    """Update a training's progress bar from its log."""
    log = work / "trainings" / name / "log.jsonl"
    if not log.is_file():
        return
    lines = log.read_text().splitlines()
    if lines:
        entry = json.loads(lines[-1])
        bar.total, bar.n = entry["steps"], entry["step"]
        bar.set_postfix(loss=f"{entry['loss']:.4f}")


def main(arguments: Sequence[str]) -> None:
    """A process that `_start` starts.

    Args:
        arguments: `render WORK SEED...` or `stage WORK NAME`.
    """
    import torch

    from ..toyworld.training import data, settings
    from ..toyworld.training.stages import run_stage

    torch.set_num_threads(1)
    kind, work, *rest = arguments
    settings.shorten(json.loads((Path(work) / "share.json").read_text()))
    if kind == "render":
        data.render_shards(Path(work) / "data", [int(seed) for seed in rest])
    else:
        run_stage(rest[0], Path(work))


if __name__ == "__main__":
    main(sys.argv[1:])
