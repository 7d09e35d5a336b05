"""`rsd toyworld`: look at the bundled world, check its networks, or train them anew."""

import argparse
import math
import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError, one_of
from ..files import make_folder
from ..toyworld.world import CLASSES, COLORS

USAGE = """usage: rsd toyworld COMMAND ...

commands:
  render   images of the world with their attributes
  check    sample from the networks and compare them with what they must be able to do
  card     samples beside renders, one picture for each class
  train    rebuild the networks from a seed

`rsd toyworld COMMAND --help` says more."""

FOLDER = "load/toyworld"  # ships with the package


def main(argv: Sequence[str]) -> int:
    """Run `rsd toyworld`; returns the exit code.

    Raises:
        UserError: an unknown command, or an impossible option.
    """
    command, arguments = (argv[0], list(argv[1:])) if argv else ("--help", [])
    if command in ("-h", "--help"):
        print(USAGE)
        return 0
    if command == "train":
        from .toyworld_train import main as train

        return train(arguments)
    commands = {"render": render_main, "check": check_main, "card": card_main}
    if command not in commands:
        raise UserError(f"Command 'toyworld {command}' is unknown; accepted: {', '.join([*commands, 'train'])}.")
    return commands[command](arguments)


def render_main(arguments: Sequence[str]) -> int:
    """`rsd toyworld render`."""
    parser = argparse.ArgumentParser(prog="rsd toyworld render", description="Random images of the world.")
    parser.add_argument("--count", type=int, default=64, help="number of images (default: 64)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is not given (default: 0)")
    parser.add_argument("--output", type=Path, default=Path("outputs/toyworld-renders"), help="folder (%(default)s)")
    parser.add_argument("--class", dest="object_class", metavar="CLASS", help=f"one of: {', '.join(CLASSES)}")
    parser.add_argument("--color", help=f"one of: {', '.join(COLORS)}")
    parser.add_argument("--azimuth", type=float, help="degrees; 0 looks at the front, 90 at the object's left side")
    parser.add_argument("--elevation", type=float, help="degrees, -90 to 90")
    args = parser.parse_args(arguments)
    _check_range("--count", args.count, 1, math.inf)
    _check_range("--seed", args.seed, 0, 2**63 - 1)
    if args.object_class is not None:
        one_of("--class", args.object_class, CLASSES)
    if args.color is not None:
        one_of("--color", args.color, COLORS)
    if args.azimuth is not None:
        _check_range("--azimuth", args.azimuth, -360, 360)
    if args.elevation is not None:
        _check_range("--elevation", args.elevation, -90, 90)
    make_folder(args.output)
    from ..toyworld.model_card import save_renders
    from ..toyworld.world import choose_scenes

    scenes = choose_scenes(args.count, args.seed, args.object_class, args.color, args.azimuth, args.elevation)
    files = save_renders(scenes, args.output)
    print(f"{len(files)} images, grid.png and attributes.json: {args.output}")
    return 0


def check_main(arguments: Sequence[str]) -> int:
    """`rsd toyworld check`: 0 if all that must hold holds, else 1."""
    parser = argparse.ArgumentParser(
        prog="rsd toyworld check",
        description="Sample from the bundled networks, judge them and print a table; at most ten minutes on two cores. "
        "Exits with 1 if anything is missed.",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="where the table also goes, as JSON")
    _add_model_options(parser)
    args = parser.parse_args(arguments)
    if args.output is not None:
        if args.output.is_dir():
            raise UserError(f"--output={str(args.output)!r} is a folder; accepted: a JSON file to be written.")
        make_folder(args.output.parent)
    folder = _models(args)
    from ..toyworld.check import run_check

    return run_check(folder, args.workers, args.output)


def card_main(arguments: Sequence[str]) -> int:
    """`rsd toyworld card`."""
    parser = argparse.ArgumentParser(
        prog="rsd toyworld card",
        description="For each class, 64 samples at guidance scale 3 on the left and 64 renders on the right.",
    )
    parser.add_argument("--output", type=Path, default=Path("outputs/toyworld-card"), help="folder (%(default)s)")
    _add_model_options(parser)
    args = parser.parse_args(arguments)
    folder = _models(args)
    make_folder(args.output)
    from ..toyworld.model_card import save_cards

    for file in save_cards(folder, args.output, args.workers):
        print(file)
    return 0


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--folder", type=Path, help="of the networks; those that ship by default")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="processes of one thread each (%(default)s)"
    )


def _models(args: argparse.Namespace) -> Path:
    """Folder of the networks."""
    _check_range("--workers", args.workers, 1, math.inf)
    if args.folder is None:
        from ..files import data_path

        return data_path(FOLDER)
    if not args.folder.is_dir():
        raise UserError(f"--folder={str(args.folder)!r} is no folder; accepted: a folder of the world's networks.")
    return args.folder


def _check_range(option: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        accepted = f"at least {low}" if high in (math.inf, 2**63 - 1) else f"{low} to {high}"
        raise UserError(f"{option}={value:g} is impossible; accepted: {accepted}.")
