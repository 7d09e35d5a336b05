"""`rsd reproduce NAME`: a figure or table of the paper, its numbers beside ours."""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..errors import UserError
from ..files import make_folder
from ..priors.pipelines import is_bundled
from ..report.page import write_report
from ..reproduce import solver_tables, toy_figure
from ..reproduce.definitions import PAPER_PRIOR, list_experiments, read_experiment, read_methods, read_settings
from ..reproduce.planning import Case, Choice, plan
from ..reproduce.run_tables import METRICS, Panel, Reproduction
from ..runs.checking import check_runs
from ..runs.grid import parse_axis, parse_seeds, read_prompts
from ..runs.run import OWN_KEYS
from ..runs.run_set import BEGUN, FAILED, FINISHED, USER_STOPPED, WAITING, hold_folder
from ..text_tables import format_figure, format_table
from .sweep import add_worker_arguments, check_worker_arguments, make_workers

USAGE = """usage: rsd reproduce NAME [options]

figures and tables of the paper:
{names}

`rsd reproduce --list` says what each needs, `rsd reproduce NAME --help` its options."""
FORMS = {"frechet": ".0f", "kid": ".0f", "colors": ".2f", "class_accuracy": ".2f", "aesthetic": ".2f"}
IN_FILE_ONLY = ("kid", "vendi_dino", "vendi_clip", "recall")


def main(argv: Sequence[str] | None = None) -> int:
    """Reproduce a figure or table.

    Returns:
        0; 1 if a run has failed; 130 if the user stopped it.

    Raises:
        UserError: an unknown name or an impossible argument.
    """
    argv = list(argv or [])
    name = argv[0] if argv else "--help"
    if name in ("-h", "--help"):
        titles = "\n".join(f"  {each:<8} {read_settings(each)['title']}" for each in list_experiments())
        print(USAGE.format(names=titles))
        return 0
    if name == "--list":
        _print_needs()
        return 0
    kind = read_settings(name)["kind"]
    if kind == "inverse":
        folder = solver_tables.run(name, argv[1:])
        print(f"Results: {folder}\n{write_report(folder)}")
        return 0
    if kind == "toy":
        return toy_figure.run(name, argv[1:])
    return _reproduce(name, argv[1:])


def _reproduce(name: str, argv: Sequence[str]) -> int:
    experiment = read_experiment(name)
    args = _parser(name, experiment.title).parse_args(argv)
    check_worker_arguments(args)
    choice = Choice(
        args.prior,
        args.quick,
        None if args.prompts is None else read_prompts(args.prompts),
        None if args.seeds is None else parse_seeds(args.seeds),
        _further_settings(args.set),
    )
    folder = args.output / (f"{name}-quick" if args.quick else name)
    command = shlex.join(["rsd", "reproduce", name, *argv])
    cases = plan(experiment, read_methods(), choice, args.output)
    reproduction = Reproduction(name, experiment, cases, folder, command, args.prior, args.quick)
    print(f"{experiment.title}\n{len(reproduction.outcomes)} runs, {len(reproduction.of_state(FINISHED))} finished")
    _check_folders(cases)
    make_folder(folder)
    if args.run and _compute(reproduction, args):
        return USER_STOPPED
    print("Measuring", flush=True)
    _print(reproduction.measure(Panel(is_bundled(args.prior), args.reference, args.device)))
    print(f"Results: {folder / 'reproduction.json'}\n{write_report(folder)}")
    return 1 if reproduction.of_state(FAILED) else 0


def _compute(reproduction: Reproduction, args: argparse.Namespace) -> bool:
    """Compute what is not finished; returns whether the user has stopped it."""
    waiting = [outcome.run for outcome in reproduction.of_state(BEGUN, WAITING)]
    if not waiting:
        return False
    if not is_bundled(args.prior):
        print("Checking the settings", flush=True)
        for run in {case.arm.label: run for case in reproduction.cases for run in case.runs if run in waiting}.values():
            check_runs(run.config, [run.overrides()])
    with hold_folder(args.output):
        stopped = reproduction.compute(make_workers(args, waiting), len(waiting), reproduction.name)
    for line in reproduction.describe_failures():
        print(line)
    return stopped


def _print(record: dict[str, Any]) -> None:
    print(f"\n{format_table(*_table(record))}\n")
    print("Means over prompts and seeds; in brackets: 95 % bootstrap intervals over both.")
    for line in _comparisons(record):
        print(line)
    for each in record["left_out"]:
        print(f"Left out: {', '.join(each['metrics'])}: {each['why']}")
    print(f"The paper: {record['claim']}")


def _check_folders(cases: Sequence[Case]) -> None:
    """Raise UserError if the first run of an arm lies in a folder whose work was done with another config."""
    from ..standalone.utils.experiment import load_config

    for run in {case.arm.label: case.runs[0] for case in reversed(cases)}.values():
        run.check_folder(load_config(run.config, cli_args=run.overrides(), n_gpus=1))


def _further_settings(arguments: Sequence[str]) -> dict[str, Any]:
    settings = {}
    for argument in arguments:
        key, values = parse_axis(argument)
        if key in OWN_KEYS or len(values) != 1:
            raise UserError(f"--set {argument!r} is impossible; accepted: KEY=VALUE with one value for all arms.")
        settings[key] = values[0]
    return settings


def _table(record: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows for a terminal."""
    measured = {key for arm in record["arms"] for key in arm["figures"]}
    keys = [key for key in METRICS if key in measured and key not in IN_FILE_ONLY]
    rows = []
    for arm in record["arms"]:
        paper = ", ".join(f"{key} {value:g}" for key, value in arm["paper"].items())
        cells = [_cell(key, arm["figures"].get(key)) for key in keys]
        rows.append([arm["label"], str(len(arm["runs"])), *cells, paper or "-"])
    return ["setting", "cases", *(METRICS[key][0] for key in keys), "paper"], rows


def _comparisons(record: dict[str, Any]) -> list[str]:
    """What the curves have at equal diversity."""
    lines = []
    for each in record["comparisons"]:
        first, second = each["curves"]
        low, high = each["range"]
        figure = {"mean": each["difference"], "interval": each["interval"]}
        lines.append(
            f"At {METRICS[each['diversity']][0]} from {low:.2f} to {high:.2f}: {METRICS[each['quality']][0]} of "
            f"{first!r} minus {second!r}: {_cell(each['quality'], figure)}"
        )
    return lines


def _cell(key: str, figure: dict[str, Any] | None) -> str:
    return format_figure(figure, FORMS.get(key, ".3f"))


def _print_needs() -> None:
    rows = []
    for name in list_experiments():
        settings = read_settings(name)
        needs = settings["needs"]
        rows.append([name, needs.get("bundled", "-"), needs.get("gpu", "-"), settings["title"]])
    width = max(len(row[0]) for row in rows)
    for name, bundled, gpu, title in rows:
        print(f"{name:<{width}}  {title}\n{'':<{width}}    bundled prior: {bundled}\n{'':<{width}}    GPU: {gpu}")


def _parser(name: str, title: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"rsd reproduce {name}",
        description=title,
        epilog="The same command again goes on with what is not finished. Experiments share their runs, which lie in "
        "OUTPUT/runs; results are in OUTPUT/NAME.",
    )
    parser.add_argument(
        "--prior",
        default="bundled",
        help=f"bundled (default), {PAPER_PRIOR} (the experiment's own, on a GPU), a hub id or a folder",
    )
    parser.add_argument("--quick", action="store_true", help="two prompts, one seed, few steps: whether it runs")
    parser.add_argument("--seeds", help="0:4 for 0 to 3, or a list such as 0,3 (default: the experiment's)")
    parser.add_argument("--prompts", type=Path, help="text file, a prompt a line (default: the experiment's)")
    parser.add_argument(
        "--set",
        action="extend",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="for all arms, any key of the configs",
    )
    parser.add_argument("--reference", help="folder of images for the Fréchet distance (bundled prior: its renders)")
    parser.add_argument("--output", type=Path, default=Path("outputs/reproduce"), help="default: outputs/reproduce")
    add_worker_arguments(parser)
    parser.add_argument(
        "--run",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="compute what is not finished (default: yes); --no-run only measures what is there",
    )
    parser.add_argument(
        "--device",
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="where the networks that measure run (default: cuda where there is one)",
    )
    return parser
