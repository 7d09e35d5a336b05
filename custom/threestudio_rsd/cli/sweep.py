"""`rsd sweep`: a grid of runs, here or on a cluster; what is finished is not run again."""

import argparse
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from ..errors import UserError
from ..files import make_folder, write_whole
from ..runs.checking import check_runs
from ..runs.grid import (
    GAMMA_KEYS,
    PROMPT_KEYS,
    SEED_KEY,
    Axis,
    expand_grid,
    parse_axis,
    parse_seeds,
    parse_values,
    read_prompts,
)
from ..runs.launching import find_config
from ..runs.run import OWN_KEYS, Run
from ..runs.run_set import BEGUN, FAILED, FINISHED, USER_STOPPED, WAITING, Outcome, RunSet, hold_folder
from ..runs.sweep import format_summary, summarize
from ..runs.workers import ClusterWorkers, LocalWorkers, Workers, slurm_executor

BACKENDS = ("local", "slurm")


class Sweep(RunSet):
    """The runs of a grid, and `sweep.json`, which says at any time how it stands with them.

    Args:
        command: what the user typed.
        config: YAML file.
        axes: keys and values.
        output: folder.

    Raises:
        UserError: an impossible grid, or a folder of results that were made otherwise.
    """

    def __init__(self, command: str, config: str, axes: Sequence[Axis], output: Path) -> None:
        self.command, self.config, self.axes, self.output = command, config, axes, output
        before = self._recorded_errors()
        super().__init__(_runs(config, axes, output), before)

    def summary(self) -> list[dict[str, Any]]:
        """Means over seeds and prompts of what has finished, see `summarize`."""
        finished = [(each.run.settings, each.metrics) for each in self.of_state(FINISHED)]
        return summarize([(settings, metrics) for settings, metrics in finished if metrics is not None])

    def write(self) -> None:
        """Write sweep.json."""
        record = {
            "command": self.command,
            "config": self.config,
            "grid": {key: list(values) for key, values in self.axes},
            "runs": [self._entry(outcome) for outcome in self.outcomes.values()],
            "summary": self.summary(),
        }
        write_whole(self.output / "sweep.json", json.dumps(record, indent=1, ensure_ascii=False) + "\n")

    def _entry(self, outcome: Outcome) -> dict[str, Any]:
        run = outcome.run
        return {
            "tag": run.tag,
            "settings": run.settings,
            "state": outcome.state,
            "folder": run.folder.relative_to(self.output).as_posix(),
            "log": run.log.relative_to(self.output).as_posix(),
            "error": outcome.error,
            "metrics": outcome.metrics,
        }

    def _recorded_errors(self) -> dict[str, str]:
        """Errors of the runs that an earlier start has seen fail, by tag."""
        try:
            runs = json.loads((self.output / "sweep.json").read_text(encoding="utf-8"))["runs"]
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{str(self.output / 'sweep.json')!r} cannot be read; remove it, or choose another --output."
            ) from error
        return {run["tag"]: run["error"] for run in runs if run["state"] == FAILED}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a grid of settings: a line for each run, `sweep.json`, and a table of means.

    Returns:
        0; 1 if a run has failed; 130 if the user stopped it.

    Raises:
        UserError: a mistake of the user's; nothing is started then.
    """
    argv = list(argv or [])
    args = _parser().parse_args(argv)
    check_worker_arguments(args)
    config = find_config(args.config)
    sweep = Sweep(shlex.join(["rsd", "sweep", *argv]), config, _axes(args, config), args.output)
    if args.list:
        return _list(sweep)
    wanted = (BEGUN, WAITING, FAILED) if args.retry else (BEGUN, WAITING)
    runs = [outcome.run for outcome in sweep.of_state(*wanted)]
    print(f"{len(sweep.outcomes)} runs, of which {len(sweep.of_state(FINISHED))} are finished", flush=True)
    stopped = False
    if runs and args.check:
        print("Checking the settings", flush=True)
        check_runs(config, [run.overrides() for run in _one_for_each_value(runs)])
    make_folder(args.output)
    with hold_folder(args.output):
        if runs:
            workers = make_workers(args, runs)
            sweep.write()
            stopped = sweep.compute(workers, len(runs), "sweep")
        sweep.write()
    return _report(sweep, stopped)


def _axes(args: argparse.Namespace, config: str) -> list[Axis]:
    """Seeds vary slowest, then prompts: a sweep that is stopped has all settings for its first seeds."""
    axes: list[Axis] = []
    if args.seeds is not None:
        axes.append((SEED_KEY, parse_seeds(args.seeds)))
    if args.prompts is not None:
        axes.append((_key_of(config, PROMPT_KEYS), read_prompts(args.prompts)))
    if args.gamma is not None:
        axes.append((_key_of(config, GAMMA_KEYS), parse_values(args.gamma, "--gamma")))
    for argument in args.set:
        key, values = parse_axis(argument)
        if key in OWN_KEYS:
            raise UserError(f"--set {key} is impossible, for the sweep sets it; accepted: other keys of the config.")
        axes.append((key, values))
    if not axes:
        raise UserError("There is nothing to vary; accepted: at least one of --gamma, --seeds, --prompts and --set.")
    return axes


def _key_of(config: str, keys: Sequence[str]) -> str:
    """Which of these keys is the config's: the first whose section it has."""
    try:
        loaded = OmegaConf.load(config)
        present = [key for key in keys if OmegaConf.select(loaded, key.rpartition(".")[0]) is not None]
    except Exception:  # a file that is no config: load_config, which comes next, says what is wrong with it
        present = []
    return (present or keys)[0]


def _runs(config: str, axes: Sequence[Axis], output: Path) -> list[Run]:
    """The runs of a grid, each of which has a config that can be loaded and a folder without other work in it."""
    from ..standalone.engine.checks import check_seed
    from ..standalone.utils.experiment import load_config

    runs = [Run(config, settings, output) for settings in expand_grid(axes)]
    for run in runs:
        resolved = load_config(config, cli_args=run.overrides(), n_gpus=1)
        check_seed(resolved.seed)
        run.check_folder(resolved)
    return runs


def _one_for_each_value(runs: Sequence[Run]) -> list[Run]:
    """As few runs as come first with a value that no earlier one has; seeds and prompts need no check each."""
    seen: set[tuple[str, str]] = set()
    chosen: list[Run] = []
    for run in runs:
        values = {
            (key, json.dumps(value))
            for key, value in run.settings.items()
            if key != SEED_KEY and key not in PROMPT_KEYS
        }
        if not chosen or values - seen:
            chosen.append(run)
            seen |= values
    return chosen


def make_workers(args: argparse.Namespace, runs: Sequence[Run]) -> Workers:
    """What --backend, --workers, --slurm and --output ask for.

    Raises:
        UserError: an option of Slurm that is not accepted, or no Slurm.
    """
    if args.backend == "local":
        return LocalWorkers(runs, args.workers or 1)
    options = {}
    for argument in args.slurm:
        key, values = parse_axis(argument, "--slurm")
        if len(values) > 1:
            raise UserError(f"--slurm {argument!r} has several values; accepted: one, a list in brackets.")
        options[key] = values[0]
    return ClusterWorkers(runs, slurm_executor(args.output / "slurm", options, args.workers))


def _report(sweep: Sweep, stopped: bool) -> int:
    finished, failed = sweep.of_state(FINISHED), sweep.of_state(FAILED)
    if finished:
        print(f"\n{format_summary(sweep.summary())}\n")
        print("Means over seeds and prompts; in brackets: 95 % bootstrap intervals over the runs.")
    print(f"{len(finished)} of {len(sweep.outcomes)} runs are finished: {sweep.output / 'sweep.json'}")
    for line in sweep.describe_failures():
        print(line)
    if stopped:
        return USER_STOPPED
    return 1 if failed else 0


def _list(sweep: Sweep) -> int:
    for outcome in sweep.outcomes.values():
        print(f"{outcome.state:<11} {outcome.run.tag}" + (f": {outcome.error}" if outcome.error else ""))
    return 0


def add_worker_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --backend, --workers and --slurm."""
    parser.add_argument("--backend", choices=BACKENDS, default="local", help="where to run (default: local)")
    parser.add_argument(
        "--workers", type=int, help="runs at a time (default: 1; on Slurm as many as it gives); GPUs are dealt out"
    )
    parser.add_argument(
        "--slurm",
        action="extend",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="options of the jobs: partition=gpu gpus_per_node=1 time=240 (minutes; a longer run goes on in a new job)",
    )


def check_worker_arguments(args: argparse.Namespace) -> None:
    """Raise UserError for an impossible --workers or --slurm."""
    if args.workers is not None and args.workers < 1:
        raise UserError(f"--workers={args.workers} is impossible; accepted: an integer of at least 1.")
    if args.slurm and args.backend != "slurm":
        raise UserError(f"--slurm {args.slurm[0]} needs --backend slurm.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rsd sweep",
        description="Every combination of some settings, a run of `rsd launch` for each.",
        epilog="The same command again goes on: finished runs are kept, runs that were interrupted go on from their "
        "last checkpoint, failed ones are tried again (not with --no-retry). Ctrl-C lets the runs save and end; a "
        "second one ends them at once. Values are those of a config: 10,20 or noisy,clean or [0,0,20,300],20.",
    )
    parser.add_argument("--config", required=True, help="YAML file, or the name of one that ships")
    parser.add_argument("--gamma", help="repulsion weights, such as 0,10,20")
    parser.add_argument("--seeds", help="0:5 for 0 to 4, or a list such as 0,3")
    parser.add_argument("--prompts", type=Path, help="text file, a prompt a line (default: the config's prompt)")
    parser.add_argument(
        "--set",
        action="extend",
        nargs="+",
        default=[],
        metavar="KEY=VALUES",
        help="values of any key of the config, such as system.guidance.kernel_input=noisy,clean",
    )
    add_worker_arguments(parser)
    parser.add_argument(
        "--retry",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="run again what has failed in an earlier start (default: yes); --no-retry only lists it",
    )
    parser.add_argument("--output", type=Path, default=Path("outputs/sweep"), help="default: outputs/sweep")
    parser.add_argument(
        "--check",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="build one run for each value before any is started (default: yes); --no-check where this machine "
        "cannot load the models",
    )
    parser.add_argument("--list", action="store_true", help="say how it stands with each run, and run nothing")
    return parser
