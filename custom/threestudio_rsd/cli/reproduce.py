"""`rsd reproduce NAME`: a figure or table of the paper, its numbers beside ours."""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from ..files import make_folder
from . import reproduce_calibration
from .options import CommandParser, Parsers, add_command, add_option, any_path, usable_device
from .sweep import add_worker_arguments, check_worker_arguments, make_workers

if TYPE_CHECKING:
    from ..reproduce.planning import Choice, PlannedCase
    from ..reproduce.run_tables import Panel, Reproduction

OUTPUT = "outputs/reproduce"


def add_parser(commands: Parsers) -> None:
    """Add `rsd reproduce` with a command for each figure and table."""
    add_command(
        commands,
        "reproduce",
        None,
        _add_commands,
        "Reproduce a figure or table of the paper: its numbers beside ours.",
        "`rsd reproduce --list` prints what each needs.",
    )


def _add_commands(parser: CommandParser) -> None:
    from ..reproduce.experiment_files import list_experiments, list_studies, read_settings

    parser.add_argument(
        "--list",
        action="store_const",
        const=list_needs,
        default=argparse.SUPPRESS,
        dest="function",
        help="print time and machine that each figure or table needs",
    )
    commands = parser.add_subparsers(metavar="NAME", title="figures and tables of the paper")
    kinds = {
        "runs": (run_experiment, _add_experiment_arguments),
        "inverse": (run_solver_table, _add_solver_table_arguments),
        "toy": (run_toy, _add_toy_arguments),
        "calibration": (reproduce_calibration.run, reproduce_calibration.add_arguments),
    }
    for name in (*list_experiments(), *list_studies()):
        content = read_settings(name)
        run, add_arguments = kinds[content["kind"]]
        add_command(
            commands,
            name,
            partial(run, name),
            partial(add_arguments, name),
            content["title"],
            "The same command again continues with what is not finished. Experiments in one output folder share their "
            "runs. Results are in OUTPUT/NAME.",
        )


def list_needs(args: argparse.Namespace) -> int:
    """Print the needs of each figure and table."""
    from ..reproduce.experiment_files import list_experiments, list_studies, read_settings

    contents = {name: read_settings(name) for name in (*list_experiments(), *list_studies())}
    width = max(map(len, contents))
    for name, content in contents.items():
        needs = content["needs"]
        print(f"{name:<{width}}  {content['title']}")
        print(f"{'':<{width}}    bundled prior: {needs.get('bundled', '-')}")
        print(f"{'':<{width}}    GPU: {needs.get('gpu', '-')}")
    return 0


def run_toy(name: str, args: argparse.Namespace) -> int:
    """Reproduce the figure of the toy problem.

    Args:
        name: figure.
        args: parsed arguments.
    """
    from ..report.page import write_report
    from ..reproduce import gaussian_toy

    folder = gaussian_toy.run(name, seed=args.seed, quick=args.quick, output=args.output, command=args.command)
    print(f"Results: {folder}\n{write_report(folder)}")
    return 0


def run_solver_table(name: str, args: argparse.Namespace) -> int:
    """Reproduce a comparison of solvers of an inverse problem.

    Args:
        name: figure or table.
        args: parsed arguments.
    """
    from ..report.page import write_report
    from ..reproduce import solver_tables

    folder = solver_tables.run(
        name,
        rows=args.rows,
        prior=args.prior,
        images=args.images,
        n_particles=args.n_particles,
        steps=args.steps,
        seed=args.seed,
        quick=args.quick,
        output=args.output,
        device=usable_device(args.device),
        command=args.command,
    )
    print(f"Results: {folder}\n{write_report(folder)}")
    return 0


def run_experiment(name: str, args: argparse.Namespace) -> int:
    """Reproduce a comparison of runs.

    Args:
        name: figure or table.
        args: parsed arguments.

    Returns:
        0; 1 if a run failed; 130, 143 or 129 if SIGINT, SIGTERM or SIGHUP stopped it.

    Raises:
        UserError: an impossible argument.
    """
    from ..priors import is_bundled
    from ..reproduce.definitions import read_experiment, read_methods
    from ..reproduce.experiment_files import BUNDLED
    from ..reproduce.planning import plan
    from ..reproduce.run_tables import Panel, Reproduction

    check_worker_arguments(args)
    experiment = read_experiment(name)
    if args.methods:
        experiment = experiment.only(args.methods)
    folder = args.output / (f"{name}-quick" if args.quick else name)
    cases = plan(experiment, read_methods(), _choice(args), args.output)
    reproduction = Reproduction(name, experiment, cases, folder, args.command, args.prior, args.quick)
    bundled = is_bundled(args.prior)
    panel = Panel(bundled, BUNDLED if bundled else args.reference, usable_device(args.device))
    return complete(reproduction, panel, args)


def complete(reproduction: "Reproduction", panel: "Panel", args: argparse.Namespace) -> int:
    """Compute the runs that are not finished, measure all, print a table and write a page.

    Args:
        reproduction: runs of an experiment.
        panel: metrics.
        args: parsed arguments.

    Returns:
        0; 1 if a run failed; 130 if the user stopped it.

    Raises:
        UserError: a folder has results of another config.
    """
    from ..report.page import write_report
    from ..reproduce.experiment_text import print_experiment
    from ..runs.run_set import BEGUN, FAILED, FINISHED, WAITING
    from ..runs.workers import preload

    title, folder = reproduction.experiment.title, reproduction.output
    print(f"{title}\n{len(reproduction.outcomes)} runs, {len(reproduction.of_state(FINISHED))} finished")
    if args.run and args.backend == "local" and reproduction.of_state(BEGUN, WAITING):
        preload(args.workers or 1)  # while this process imports its own
    _check_folders(reproduction.cases)
    make_folder(folder)
    if args.run and (stopped := _compute(reproduction, args)):
        return stopped
    print("Measuring", flush=True)
    print_experiment(reproduction.measure(panel))
    print(f"Results: {folder / 'reproduction.json'}\n{write_report(folder)}")
    return 1 if reproduction.of_state(FAILED) else 0


def _choice(args: argparse.Namespace) -> "Choice":
    from ..reproduce.planning import Choice
    from ..runs.grid import parse_axis, parse_seeds, read_prompts
    from ..runs.run import OWN_KEYS

    settings = {}
    for argument in args.set:
        key, values = parse_axis(argument)
        if key in OWN_KEYS or len(values) != 1:
            raise UserError(f"--set {argument!r} is impossible; accepted: KEY=VALUE with one value for all settings.")
        settings[key] = values[0]
    prompts = None if args.prompts is None else read_prompts(args.prompts)
    seeds = None if args.seeds is None else parse_seeds(args.seeds)
    return Choice(args.prior, args.quick, prompts, seeds, settings)


def _compute(reproduction: "Reproduction", args: argparse.Namespace) -> int:
    """Compute the runs that are not finished; returns the exit code of a signal that stopped them, or 0."""
    from ..priors import is_bundled
    from ..runs.checking import check_runs
    from ..runs.run_set import BEGUN, WAITING, hold_folder

    waiting = [outcome.run for outcome in reproduction.of_state(BEGUN, WAITING)]
    if not waiting:
        return 0
    if not is_bundled(args.prior):
        print("Checking the settings", flush=True)
        for run in {
            case.setting.label: run for case in reproduction.cases for run in case.runs if run in waiting
        }.values():
            check_runs(run.config, [run.overrides()])
    with hold_folder(args.output):
        stopped = reproduction.compute(make_workers(args, waiting), len(waiting), reproduction.name)
    for line in reproduction.describe_failures():
        print(line)
    return stopped


def _check_folders(cases: "Sequence[PlannedCase]") -> None:
    """Check that the folder of each setting's first run has no results of another config.

    Raises:
        UserError: one has.
    """
    from ..standalone.utils.experiment import load_config

    for run in {case.setting.label: case.runs[0] for case in reversed(cases)}.values():
        run.check_folder(load_config(run.config, cli_args=run.overrides(), n_gpus=1))


def _add_experiment_arguments(name: str, parser: CommandParser) -> None:
    from ..reproduce.experiment_files import PAPER_PRIOR

    add_option(
        parser,
        "--prior",
        "bundled",
        f"diffusion model: bundled, {PAPER_PRIOR} (the experiment's own, on a GPU), a hub id or a folder",
    )
    parser.add_argument("--quick", action="store_true", help="two prompts, one seed and few steps, to try the command")
    parser.add_argument("--seeds", help="0:4 for 0 to 3, or a list such as 0,3; the experiment's by default")
    parser.add_argument(
        "--prompts", type=any_path, metavar="FILE", help="text file, one prompt a line; the experiment's by default"
    )
    parser.add_argument(
        "--methods",
        nargs="+",
        metavar="METHOD",
        help="only the settings of these methods, such as flow or sds-descending, see load/paper/shared/methods.yaml",
    )
    add_option(parser, "--set", [], "a value of any key of the configs, for all settings")
    parser.add_argument(
        "--reference", help="folder of images for the Fréchet distance; on the bundled prior its renders"
    )
    add_option(parser, "--output", Path(OUTPUT))
    add_worker_arguments(parser)
    parser.add_argument(
        "--run",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="compute the runs that are not finished; --no-run only measures the finished ones",
    )
    add_option(parser, "--device", help="device of the networks that measure; the first GPU by default, else the CPU")


def _add_solver_table_arguments(name: str, parser: CommandParser) -> None:
    from ..reproduce.experiment_files import BUNDLED, PAPER_PRIOR, read_settings

    table = read_settings(name)
    reproduce_calibration.add_rows_argument([row["label"] for row in table["rows"]], parser)
    bundled, paper = table["bundled"]["settings"], table["settings"]
    add_option(
        parser,
        "--prior",
        BUNDLED,
        f"diffusion model: {BUNDLED}, {PAPER_PRIOR} ({table['prior']}, on a GPU), a Stable Diffusion id or a folder; "
        f"all but {BUNDLED} run with the paper's settings",
    )
    parser.add_argument(
        "--images",
        help=f"number of renders to restore, {table['bundled']['images']} by default, or a folder of images, which are "
        "cropped to squares and resized",
    )
    add_option(
        parser,
        "--n-particles",
        help=f"number of answers to each image; {bundled['n_particles']} by default, on another prior "
        f"{paper['n_particles']}",
    )
    add_option(
        parser,
        "--steps",
        help=f"steps of every solver that does not set its own; {bundled['n_steps']} by default, on another prior "
        f"{paper['n_steps']}",
    )
    parser.add_argument("--quick", action="store_true", help="two images and few steps, to try the command")
    add_option(parser, "--seed", 0, "seed of particles and noise")
    add_option(parser, "--output", Path(OUTPUT))
    add_option(parser, "--device")


def _add_toy_arguments(name: str, parser: CommandParser) -> None:
    parser.add_argument("--quick", action="store_true", help="few repetitions of every setting, to try the command")
    add_option(parser, "--seed", 0, "seed of the initial particles, the noise and the timesteps")
    add_option(parser, "--output", Path(OUTPUT))
