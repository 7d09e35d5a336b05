"""`rsd toy`: the paper's two-dimensional problem."""

import argparse
from pathlib import Path

from ..errors import fits_memory
from .options import CommandParser, Parsers, add_command, add_option, positive_int

REALIZATION = 256  # bytes, at least, of one repetition: particles, their gradients and moments, of several ensembles


def add_parser(commands: Parsers) -> None:
    """Add `rsd toy`."""
    add_command(
        commands,
        "toy",
        run,
        _add_arguments,
        "Simulate the paper's two-dimensional problem (C.3.1, Fig. 9) and eight modes on a ring: tables, a figure.",
    )


def run(args: argparse.Namespace) -> int:
    """Simulate every setting."""
    from ..reproduce import gaussian_toy, ring_toy

    fits_memory("--realizations", args.realizations, args.realizations * REALIZATION)
    folder = gaussian_toy.run(
        None, realizations=args.realizations, seed=args.seed, output=args.output, command=args.command
    )
    print()
    written = ring_toy.run(args.realizations, args.seed, folder, args.command)
    print(f"\nWritten: {written}")
    return 0


def _add_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "--realizations", type=positive_int, default=200, metavar="N", help="repetitions of every setting"
    )
    add_option(parser, "--output", Path("outputs/toy"))
    add_option(parser, "--seed", 0, "seed of the initial particles, the noise and the timesteps")
