"""`rsd reproduce NAME`: a figure or table of the paper, its numbers beside ours."""

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..files import make_folder
from ..text_tables import format_figure, format_table
from . import reproduce_calibration
from .options import CommandParser, Parsers, add_command, add_option, default_device
from .sweep import add_worker_arguments, check_worker_arguments, make_workers

if TYPE_CHECKING:
    from ..reproduce.planning import Choice, PlannedCase
    from ..reproduce.run_tables import Reproduction

IN_FILE_ONLY = ("kid", "vendi_dino", "vendi_clip", "recall")  # metrics that the terminal's table leaves out
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
    from ..reproduce.definitions import list_experiments, list_studies, read_settings

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
    from ..reproduce.definitions import list_experiments, list_studies, read_settings

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
        prior=args.prior,
        images=args.images,
        n_particles=args.n_particles,
        steps=args.steps,
        seed=args.seed,
        quick=args.quick,
        output=args.output,
        device=default_device(args.device),
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
        0; 1 if a run failed; 130 if the user stopped it.

    Raises:
        UserError: an impossible argument.
    """
    from ..priors import is_bundled
    from ..report.page import write_report
    from ..reproduce.definitions import read_experiment, read_methods
    from ..reproduce.planning import plan
    from ..reproduce.run_tables import Panel, Reproduction
    from ..runs.run_set import FAILED, FINISHED, USER_STOPPED

    check_worker_arguments(args)
    experiment = read_experiment(name)
    folder = args.output / (f"{name}-quick" if args.quick else name)
    cases = plan(experiment, read_methods(), _choice(args), args.output)
    reproduction = Reproduction(name, experiment, cases, folder, args.command, args.prior, args.quick)
    print(f"{experiment.title}\n{len(reproduction.outcomes)} runs, {len(reproduction.of_state(FINISHED))} finished")
    _check_folders(cases)
    make_folder(folder)
    if args.run and _compute(reproduction, args):
        return USER_STOPPED
    print("Measuring", flush=True)
    panel = Panel(is_bundled(args.prior), args.reference, default_device(args.device))
    _print(reproduction.measure(panel))
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


def _compute(reproduction: "Reproduction", args: argparse.Namespace) -> bool:
    """Compute the runs that are not finished; returns whether the user stopped it."""
    from ..priors import is_bundled
    from ..runs.checking import check_runs
    from ..runs.run_set import BEGUN, WAITING, hold_folder

    waiting = [outcome.run for outcome in reproduction.of_state(BEGUN, WAITING)]
    if not waiting:
        return False
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


def _print(record: Mapping[str, Any]) -> None:
    """Print the table and the remarks of a reproduction.json."""
    print(f"\n{format_table(*_table(record))}\n")
    print("Means over prompts and seeds; in brackets: 95 % bootstrap intervals over both.")
    for line in _comparisons(record):
        print(line)
    for each in record["left_out"]:
        print(f"Left out: {', '.join(each['metrics'])}: {each['why']}")
    print(f"The paper: {record['claim']}")


def _table(record: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows, one for each setting."""
    from ..metrics.names import metric_info
    from ..reproduce.run_tables import KEYS

    measured = {key for setting in record["settings"] for key in setting["figures"]}
    keys = [key for key in KEYS if key in measured and key not in IN_FILE_ONLY]
    rows = []
    for setting in record["settings"]:
        paper = ", ".join(f"{key} {value:g}" for key, value in setting["paper"].items())
        cells = [_cell(key, setting["figures"].get(key)) for key in keys]
        rows.append([setting["label"], str(len(setting["runs"])), *cells, paper or "-"])
    return ["setting", "cases", *(metric_info(key).title for key in keys), "paper"], rows


def _comparisons(record: Mapping[str, Any]) -> list[str]:
    """Lines about the quality of two curves at equal diversity."""
    from ..metrics.names import metric_info

    lines = []
    for each in record["comparisons"]:
        first, second = each["curves"]
        low, high = each["range"]
        figure = {"mean": each["difference"], "interval": each["interval"]}
        lines.append(
            f"At {metric_info(each['diversity']).title} from {low:.2f} to {high:.2f}: "
            f"{metric_info(each['quality']).title} of {first!r} minus {second!r}: {_cell(each['quality'], figure)}"
        )
    return lines


def _cell(key: str, figure: Mapping[str, Any] | None) -> str:
    from ..metrics.names import metric_info

    return format_figure(figure, f".{metric_info(key).digits}f")


def _add_experiment_arguments(name: str, parser: CommandParser) -> None:
    from ..reproduce.definitions import PAPER_PRIOR

    add_option(
        parser,
        "--prior",
        "bundled",
        f"diffusion model: bundled, {PAPER_PRIOR} (the experiment's own, on a GPU), a hub id or a folder",
    )
    parser.add_argument("--quick", action="store_true", help="two prompts, one seed and few steps, to try the command")
    parser.add_argument("--seeds", help="0:4 for 0 to 3, or a list such as 0,3; the experiment's by default")
    parser.add_argument(
        "--prompts", type=Path, metavar="FILE", help="text file, one prompt a line; the experiment's by default"
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
    from ..reproduce.definitions import BUNDLED, PAPER_PRIOR, read_solver_table

    table = read_solver_table(name)
    bundled, paper = table.bundled.settings, table.settings
    add_option(
        parser,
        "--prior",
        BUNDLED,
        f"diffusion model: {BUNDLED}, {PAPER_PRIOR} ({table.prior}, on a GPU), a Stable Diffusion id or a folder; all "
        f"but {BUNDLED} run with the paper's settings",
    )
    parser.add_argument(
        "--images",
        help=f"number of renders to restore, {table.bundled.images} by default, or a folder of images, which are "
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
