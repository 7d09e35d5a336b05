"""`rsd sweep`: the runs of a grid of settings, on this machine or on a cluster."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from ..files import make_folder
from .options import CommandParser, Parsers, add_command, add_option, any_path, non_empty

if TYPE_CHECKING:
    from ..runs.grid import Axis
    from ..runs.run import Run
    from ..runs.sweep import Sweep
    from ..runs.workers import Workers

BACKENDS = ("local", "slurm")


def add_parser(commands: Parsers) -> None:
    """Add `rsd sweep`."""
    add_command(
        commands,
        "sweep",
        run,
        _add_arguments,
        "Run `rsd launch` for every combination of some settings. Finished runs are not repeated.",
        "The same command again continues: finished runs are kept, interrupted ones resume from their last checkpoint, "
        "failed ones are tried again (not with --no-retry). Ctrl-C lets the runs save and end; a second one ends them "
        "at once. Values are those of a config: 10,20 or noisy,clean or [0,0,20,300],20.",
    )


def run(args: argparse.Namespace) -> int:
    """Run a grid of settings: prints a line for each run and a table of means, and writes `sweep.json`.

    Returns:
        0; 1 if a run failed; 130, 143 or 129 if SIGINT, SIGTERM or SIGHUP stopped it.

    Raises:
        UserError: a mistake of the user; nothing is started then.
    """
    from ..runs.checking import check_runs
    from ..runs.launching import find_config
    from ..runs.run_set import BEGUN, FAILED, FINISHED, WAITING, hold_folder
    from ..runs.sweep import Sweep, one_run_for_each_value

    check_worker_arguments(args)
    config = find_config(args.config)
    sweep = Sweep(args.command, config, _axes(args, config), args.output)
    if args.list:
        return _list(sweep)
    wanted = (BEGUN, WAITING, FAILED) if args.retry else (BEGUN, WAITING)
    runs = [outcome.run for outcome in sweep.of_state(*wanted)]
    print(f"{len(sweep.outcomes)} runs, of which {len(sweep.of_state(FINISHED))} are finished", flush=True)
    stopped = 0
    if runs and args.check:
        print("Checking the settings", flush=True)
        check_runs(config, [each.overrides() for each in one_run_for_each_value(runs)])
    make_folder(args.output)
    with hold_folder(args.output):
        if runs:
            workers = make_workers(args, runs)
            sweep.write()
            stopped = sweep.compute(workers, len(runs), "sweep")
        sweep.write()
    return _report(sweep, stopped)


def add_worker_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --backend, --workers and --slurm."""
    parser.add_argument("--backend", choices=BACKENDS, default="local", help="where the runs are computed")
    add_option(
        parser,
        "--workers",
        help="number of runs at a time, among which GPUs are shared; 1 by default, no limit on Slurm",
    )
    parser.add_argument(
        "--slurm",
        action="extend",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="options of the jobs, such as partition=gpu gpus_per_node=1 time=240 (minutes; a run that takes longer "
        "continues in a new job)",
    )


def check_worker_arguments(args: argparse.Namespace) -> None:
    """Check --slurm.

    Raises:
        UserError: it is given without --backend slurm.
    """
    if args.slurm and args.backend != "slurm":
        raise UserError(f"--slurm {args.slurm[0]} needs --backend slurm.")


def make_workers(args: argparse.Namespace, runs: "Sequence[Run]") -> "Workers":
    """The workers that --backend, --workers, --slurm and --output describe.

    Args:
        args: parsed arguments.
        runs: runs to compute.

    Raises:
        UserError: an option of Slurm that is not accepted, or no Slurm.
    """
    from ..runs.grid import parse_axis
    from ..runs.workers import ClusterWorkers, LocalWorkers, slurm_executor

    if args.backend == "local":
        return LocalWorkers(runs, args.workers or 1)
    options = {}
    for argument in args.slurm:
        key, values = parse_axis(argument, "--slurm")
        if len(values) > 1:
            raise UserError(f"--slurm {argument!r} has several values; accepted: one, a list in brackets.")
        options[key] = values[0]
    return ClusterWorkers(runs, slurm_executor(args.output / "slurm", options, args.workers))


def _axes(args: argparse.Namespace, config: str) -> "list[Axis]":
    """Keys and values of the grid. Seeds vary slowest, then prompts: an interrupted sweep has all settings for them."""
    from ..runs.grid import GAMMA_KEYS, PROMPT_KEYS, SEED_KEY, parse_axis, parse_seeds, parse_values, read_prompts
    from ..runs.run import OWN_KEYS

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
            raise UserError(f"--set {key} is impossible: the sweep sets it; accepted: other keys of the config.")
        axes.append((key, values))
    if not axes:
        raise UserError("There is nothing to vary; accepted: at least one of --gamma, --seeds, --prompts and --set.")
    return axes


def _key_of(config: str, keys: Sequence[str]) -> str:
    """The first of these keys whose section the config has."""
    from omegaconf import OmegaConf

    try:
        loaded = OmegaConf.load(config)
        present = [key for key in keys if OmegaConf.select(loaded, key.rpartition(".")[0]) is not None]
    except Exception:  # the file is no config: `load_config`, which is called next, describes the error
        present = []
    return (present or keys)[0]


def _report(sweep: "Sweep", stopped: int) -> int:
    from ..runs.run_set import FAILED, FINISHED
    from ..runs.sweep import format_summary

    finished = sweep.of_state(FINISHED)
    if finished:
        print(f"\n{format_summary(sweep.summary())}\n")
        print("Means over seeds and prompts; in brackets: 95 % bootstrap intervals over the runs.")
    print(f"{len(finished)} of {len(sweep.outcomes)} runs are finished: {sweep.output / 'sweep.json'}")
    for line in sweep.describe_failures():
        print(line)
    if stopped:
        return stopped
    return 1 if sweep.of_state(FAILED) else 0


def _list(sweep: "Sweep") -> int:
    from ..runs.run_set import describe

    for outcome in sweep.outcomes.values():
        print(describe(outcome))
    return 0


def _add_arguments(parser: CommandParser) -> None:
    parser.add_argument("--config", type=non_empty, required=True, help="YAML file, or the name of a shipped config")
    parser.add_argument("--gamma", metavar="VALUES", help="repulsion weights, such as 0,10,20")
    parser.add_argument("--seeds", help="0:5 for 0 to 4, or a list such as 0,3")
    parser.add_argument(
        "--prompts", type=any_path, metavar="FILE", help="text file, one prompt a line; the config's prompt by default"
    )
    add_option(parser, "--set", [], "values of any key of the config, such as system.guidance.kernel_input=noisy,clean")
    add_worker_arguments(parser)
    parser.add_argument(
        "--retry",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="run again what failed in an earlier start; --no-retry only lists it",
    )
    add_option(parser, "--output", Path("outputs/sweep"))
    parser.add_argument(
        "--check",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="build one run for each value before any is started; --no-check where this machine cannot load the models",
    )
    parser.add_argument("--list", action="store_true", help="print the state of each run, and run nothing")
