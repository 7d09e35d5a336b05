"""`rsd toyworld`: render the bundled world, check its networks, or train them."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from ..errors import fits_memory
from ..files import data_path, make_folder
from ..names import CLASSES, COLORS
from . import toyworld_train
from .options import (
    COMMAND,
    CommandParser,
    Parsers,
    add_command,
    add_option,
    existing_folder,
    new_file,
    number_between,
    positive_int,
)

SCENE = 64 * 64 * 3 * 4  # bytes of a render
FOLDER = "load/toyworld"  # of the shipped networks


def add_parser(commands: Parsers) -> None:
    """Add `rsd toyworld` with its commands."""
    add_command(
        commands,
        "toyworld",
        None,
        _add_commands,
        "Render the bundled world, check the networks that were trained on it, or train them.",
    )


def _add_commands(parser: CommandParser) -> None:
    commands = parser.add_subparsers(metavar=COMMAND, title="commands")
    own: list[tuple[str, Callable, Callable, str]] = [
        ("render", render, _add_render_arguments, "Render random images of the world, with their attributes."),
        (
            "check",
            check,
            _add_check_arguments,
            "Sample from the networks and compare the samples with what is required of them: a table. The exit code is "
            "1 if a requirement is missed. Takes about 13 minutes on two cores.",
        ),
        (
            "card",
            card,
            _add_card_arguments,
            "Write a picture for each class: 64 samples at guidance scale 3 on the left, 64 renders on the right.",
        ),
    ]
    for name, run, add_arguments, description in own:
        add_command(commands, name, run, add_arguments, description)
    toyworld_train.add_parser(commands)
    add_command(
        commands,
        "examples",
        examples,
        _add_examples_arguments,
        "Render the example images of inverse problems, with `truth.json`, which describes them.",
    )


def render(args: argparse.Namespace) -> int:
    """`rsd toyworld render`."""
    fits_memory("--count", args.count, args.count * SCENE)
    make_folder(args.output)
    from ..toyworld.model_card import save_renders
    from ..toyworld.world import choose_scenes

    scenes = choose_scenes(args.count, args.seed, args.object_class, args.color, args.azimuth, args.elevation)
    files = save_renders(scenes, args.output)
    print(f"{len(files)} images, grid.png and attributes.json: {args.output}")
    return 0


def check(args: argparse.Namespace) -> int:
    """`rsd toyworld check`; returns 0 if all requirements are met, else 1."""
    if args.output is not None:
        make_folder(args.output.parent)
    from ..toyworld.check import run_check

    return run_check(_networks(args), args.workers, args.output)


def card(args: argparse.Namespace) -> int:
    """`rsd toyworld card`."""
    make_folder(args.output)
    from ..toyworld.model_card import save_cards

    for file in save_cards(_networks(args), args.output, args.workers):
        print(file)
    return 0


def examples(args: argparse.Namespace) -> int:
    """`rsd toyworld examples`."""
    make_folder(args.output)
    from ..toyworld.examples import write_examples

    write_examples(args.output)
    print(f"Examples and truth.json: {args.output}")
    return 0


def _add_render_arguments(parser: CommandParser) -> None:
    parser.add_argument("--count", type=positive_int, default=64, metavar="N", help="number of images")
    add_option(parser, "--seed", 0, "seed of the attributes that are not given")
    add_option(parser, "--output", Path("outputs/toyworld-renders"))
    classes, colors = ", ".join(CLASSES), ", ".join(COLORS)
    parser.add_argument(
        "--class", choices=CLASSES, dest="object_class", metavar="CLASS", help=f"object: one of {classes}"
    )
    parser.add_argument("--color", choices=COLORS, metavar="COLOR", help=f"color of the object: one of {colors}")
    parser.add_argument(
        "--azimuth",
        type=number_between(-360, 360),
        metavar="DEGREES",
        help="of the camera: 0 sees the object's front, 90 its left side",
    )
    parser.add_argument(
        "--elevation", type=number_between(-90, 90), metavar="DEGREES", help="of the camera above the ground"
    )


def _add_check_arguments(parser: CommandParser) -> None:
    parser.add_argument("--output", type=new_file, metavar="FILE", help="JSON file to which the table is written too")
    _add_network_options(parser)


def _add_card_arguments(parser: CommandParser) -> None:
    add_option(parser, "--output", Path("outputs/toyworld-card"))
    _add_network_options(parser)


def _add_examples_arguments(parser: CommandParser) -> None:
    add_option(parser, "--output", Path("outputs/toyworld-examples"))


def _add_network_options(parser: CommandParser) -> None:
    parser.add_argument("--folder", type=existing_folder, help="folder of the networks; the shipped ones by default")
    add_option(parser, "--workers", os.cpu_count() or 1, "number of processes, of one thread each")


def _networks(args: argparse.Namespace) -> Path:
    return args.folder or data_path(FOLDER)
