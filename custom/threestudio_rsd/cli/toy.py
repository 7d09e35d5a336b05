"""`rsd toy`: the paper's two-dimensional problem."""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from ..reproduce import gaussian_toy


def main(argv: Sequence[str] | None = None) -> int:
    """Simulate every setting."""
    argv = list(argv or [])
    parser = argparse.ArgumentParser(prog="rsd toy", description="The paper's two-dimensional problem (C.3.1, Fig. 9).")
    parser.add_argument("--realizations", type=int, default=200, help="repetitions of every setting (default: 200)")
    parser.add_argument("--output", type=Path, default=Path("outputs/toy"), help="folder (default: outputs/toy)")
    parser.add_argument("--seed", type=int, default=0, help="seed of start, noise and timesteps (default: 0)")
    gaussian_toy.run(None, **vars(parser.parse_args(argv)), command=shlex.join(["rsd", "toy", *argv]))
    return 0
