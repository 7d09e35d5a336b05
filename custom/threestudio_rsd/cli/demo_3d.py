"""`rsd demo 3d`: one prompt, N NeRFs from the bundled prior, without and with repulsion, side by side on one page."""

import argparse
import shlex
from collections.abc import Sequence
from datetime import datetime

from ..files import make_folder, write_whole
from ..report.nerf_page import figures_rows, render_page, turntable
from ..runs.launching import launch
from ..runs.trial import read_trial
from ..text_tables import format_table
from .options import add_numbers, check_numbers, check_prompt, run_overrides

CONFIG = "configs/text2nerf/dreamfusion-bundled.yaml"
GAMMA = 20.0  # as in the config
NOTE = (
    "{n} NeRFs are optimized together by score distillation from the prior that ships, seen from one camera in each "
    "step. Without repulsion they are {n} independent runs. This is one prompt and one seed, in which either may "
    "be the luckier one: the README has means over several."
)


def main(argv: Sequence[str] | None = None) -> int:
    """`rsd demo 3d`: two runs, a table, a page.

    Raises:
        UserError: an impossible argument, or an output folder that cannot be made.
    """
    argv = list(argv or [])
    args = _parser().parse_args(argv)
    check_numbers(args)
    check_prompt(args.prompt)
    make_folder(args.output)
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    trials = []
    for number, gamma in enumerate((0.0, args.gamma), start=1):
        label = f"gamma = {gamma:g}" if gamma else "without repulsion"
        print(f"\n[{number}/2] {label}", flush=True)
        code = _launch(args, f"gamma-{gamma:g}@{stamp}", gamma)
        if code:
            return code
        trials.append(read_trial(args.output / "runs" / f"gamma-{gamma:g}@{stamp}", label))
    title = f'"{args.prompt}", {args.n} objects'
    html = render_page(title, NOTE.format(n=args.n), shlex.join(["rsd", "demo", "3d", *argv]), trials)
    page = write_whole(args.output / "3d-demo.html", html)
    print(f"\n{format_table(*figures_rows(trials))}\n")
    for trial in trials:
        print(f"{trial.label + ':':<20} {trial.grid}")
        print(f"{'':<20} {turntable(trial)}")
    print(f"{'page:':<20} {page}")
    return 0


def _launch(args: argparse.Namespace, tag: str, gamma: float) -> int:
    overrides = [
        *run_overrides(args, tag),
        f"system.geometry.n_particles={args.n}",
        f"data.batch_size={args.n}",
        f"system.guidance.gamma={gamma}",
        f"trainer.max_steps={args.steps}",
        f"trainer.val_check_interval={args.steps}",
    ]
    return launch(CONFIG, "train", overrides)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rsd demo 3d",
        description="One prompt, several NeRFs, without and with repulsion, as one page.",
    )
    parser.add_argument("--prompt", default="a mushroom", help="what to show (default: a mushroom)")
    add_numbers(parser, n=4, gamma=GAMMA, steps=400, output="outputs/3d-demo")
    return parser
