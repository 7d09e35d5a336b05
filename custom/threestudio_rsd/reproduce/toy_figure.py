"""`rsd reproduce fig9`: the toy problem, and what the paper says about it beside what it shows here."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import gaussian_toy
from .definitions import parse, read_settings

PAPERS = ("rsd", "random", "noisy")  # the setting of the paper, as far as it says: method, order of t, kernel input


@dataclass
class ToyScope:
    """With --quick.

    Attributes:
        realizations: in place of the usual number.
    """

    realizations: int = 10


@dataclass
class ToyFigure:
    """A figure of the toy problem.

    Attributes:
        title: what it is.
        claim: what the paper says that it shows.
        needs: what a reader must have: `bundled` and `gpu`, time and machine in words.
        realizations: of every setting.
        quick: with --quick.
    """

    title: str
    claim: str
    needs: dict[str, str]
    realizations: int
    quick: ToyScope = field(default_factory=ToyScope)


def read_figure(name: str) -> ToyFigure:
    """An experiment of kind `toy`.

    Raises:
        UserError: an unknown name, or a file that is not understood.
    """
    content = read_settings(name)
    content.pop("kind")
    return parse(ToyFigure, content, name)


def run(name: str, argv: Sequence[str]) -> int:
    """Simulate, print the table and the paper's claim, write what `rsd toy` writes into OUTPUT/NAME.

    Raises:
        UserError: an impossible argument, or an output folder that cannot be made.
    """
    figure = read_figure(name)
    parser = argparse.ArgumentParser(prog=f"rsd reproduce {name}", description=figure.title)
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"{figure.quick.realizations} realizations in place of {figure.realizations}",
    )
    parser.add_argument("--seed", type=int, default=0, help="of start, noise and timesteps (default: 0)")
    parser.add_argument("--output", type=Path, default=Path("outputs/reproduce"), help="default: outputs/reproduce")
    args = parser.parse_args(argv)
    realizations = figure.quick.realizations if args.quick else figure.realizations
    print(figure.title)
    rows = gaussian_toy.compute(realizations, args.seed, args.output / (f"{name}-quick" if args.quick else name))
    print(f"The paper: {figure.claim}")
    print(f"Here, as in the paper (random t, kernel on noisy particles; {realizations} realizations):")
    for line in describe(rows):
        print(f"  {line}")
    return 0


def describe(rows: Sequence[gaussian_toy.Row]) -> list[str]:
    """What the paper speaks about: two modes without repulsion and at the gammas that it shows."""
    lines = []
    for gamma in (0.0, *gaussian_toy.SCATTER_GAMMAS):
        for row in rows:
            if row.modes == len(gaussian_toy.TWO_MODES) and (row.method, row.order, row.kernel_input, row.gamma) == (
                *PAPERS,
                gamma,
            ):
                lines.append(f"gamma {gamma:g}: {row.collapsed:.0%} collapsed, distance to a mode {row.distance:.2f}")
    return lines
