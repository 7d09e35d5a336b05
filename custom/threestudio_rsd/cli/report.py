"""`rsd report FOLDER`: one self-contained page about a run, a sweep or a reproduction."""

import argparse

from .options import CommandParser, Parsers, add_command, any_path, new_file


def add_parser(commands: Parsers) -> None:
    """Add `rsd report`."""
    add_command(
        commands,
        "report",
        run,
        _add_arguments,
        "Write one HTML page about a run, a sweep or a reproduction: images side by side, trade-offs, numbers, curves.",
        "The page needs neither a network nor other files.",
    )


def run(args: argparse.Namespace) -> int:
    """Write the page of a folder."""
    from ..report.page import write_report

    print(write_report(args.folder, args.output))
    return 0


def _add_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "folder",
        type=any_path,
        metavar="FOLDER",
        help="folder that `rsd reproduce`, `rsd sweep`, `rsd toy` or a demo wrote, trial folder of a run, or folder of "
        "trial folders",
    )
    parser.add_argument("--output", type=new_file, metavar="FILE", help="page to write; FOLDER/report.html by default")
