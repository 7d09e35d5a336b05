"""Arguments that the demos share."""

import argparse
import json
import math
from pathlib import Path

from ..errors import UserError


def add_numbers(parser: argparse.ArgumentParser, n: int, gamma: float, steps: int, output: str) -> None:
    """Add --n, --gamma, --steps, --output and --seed, with these defaults."""
    parser.add_argument("--n", type=int, default=n, help=f"number of particles (default: {n})")
    parser.add_argument("--gamma", type=float, default=gamma, help=f"repulsion weight (default: {gamma:g})")
    parser.add_argument("--steps", type=int, default=steps, help=f"optimization steps (default: {steps})")
    parser.add_argument("--output", type=Path, default=Path(output), help=f"folder (default: {output})")
    parser.add_argument("--seed", type=int, default=0, help="of particles, noise and timesteps (default: 0)")


def check_numbers(args: argparse.Namespace) -> None:
    """Check --n, --steps, --gamma and --seed.

    Raises:
        UserError: one of them is impossible.
    """
    for name in ("n", "steps"):
        value = getattr(args, name)
        if value < 1:
            raise UserError(f"--{name}={value} is impossible; accepted: an integer of at least 1.")
    if not (math.isfinite(args.gamma) and args.gamma > 0):
        raise UserError(f"--gamma={args.gamma} is impossible; accepted: a number above 0.")
    if args.seed < 0:
        raise UserError(f"--seed={args.seed} is impossible; accepted: an integer of at least 0.")


def check_prompt(prompt: str) -> None:
    """Raise UserError for a prompt that says nothing."""
    if not prompt.strip():
        raise UserError(f"--prompt={prompt!r} is empty; accepted: a text such as 'a mushroom'.")


def run_overrides(args: argparse.Namespace, tag: str) -> list[str]:
    """Overrides of a demo's run: its folder OUTPUT/runs/TAG, seed and prompt."""
    return [
        f"exp_root_dir={quoted(str(args.output))}",
        "name=runs",
        f"tag={tag}",
        "use_timestamp=false",
        f"seed={args.seed}",
        f"system.prompt_processor.prompt={quoted(args.prompt)}",
    ]


def quoted(text: str) -> str:
    """A text as the value of an override, which is read as YAML."""
    return json.dumps(text, ensure_ascii=False)
