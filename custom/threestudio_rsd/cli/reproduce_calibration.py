"""`rsd reproduce calibration`: answers of the solvers against the true posterior of the bundled world."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from .options import CommandParser, add_option, usable_device

OUTPUT = "outputs/reproduce"


def run(name: str, args: argparse.Namespace) -> int:
    """Compare answers with the scenes that agree with the measurement.

    Args:
        name: study.
        args: parsed arguments.
    """
    from ..reproduce import calibration

    folder = calibration.run(
        name,
        images=args.images,
        n_answers=args.n_particles,
        problems=args.problems,
        rows=args.rows,
        seed=args.seed,
        quick=args.quick,
        output=args.output,
        device=usable_device(args.device),
        command=args.command,
    )
    print(f"Results: {folder}")
    return 0


def add_rows_argument(labels: Sequence[str], parser: CommandParser) -> None:
    """Add `--rows`, which chooses some rows of a table.

    Args:
        labels: labels of the rows.
        parser: parser of the command.
    """
    parser.add_argument("--rows", nargs="+", metavar="ROW", help=f"rows to make; of {'; '.join(labels)}")


def add_arguments(name: str, parser: CommandParser) -> None:
    """Add the options of the command.

    Args:
        name: study.
        parser: parser of the command.
    """
    from ..reproduce.calibration import read_study

    study = read_study(name, quick=False)
    add_rows_argument([row.label for row in study.rows], parser)
    parser.add_argument("--images", type=int, help=f"number of renders to restore; {study.images} by default")
    add_option(parser, "--n-particles", help=f"number of answers to each image; {study.n_answers} by default")
    parser.add_argument("--problems", nargs="+", choices=list(study.problems), help="problems to solve; all by default")
    parser.add_argument("--quick", action="store_true", help="one image and few steps, to try the command")
    add_option(parser, "--seed", 0, "seed of particles and noise")
    add_option(parser, "--output", Path(OUTPUT))
    add_option(parser, "--device")
