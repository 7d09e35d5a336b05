"""`rsd demo`: one prompt, N particles of the bundled prior, without and with repulsion, side by side on one page.

Plain sampling (Euler ancestral, the paper's upper bound) stands beside them: it shows how diverse the prior itself is.
"""

import argparse
import importlib
import shlex
from collections.abc import Sequence
from datetime import datetime

from ..files import make_folder
from ..report.html import metrics_rows, write_page
from ..runs.launching import launch
from ..runs.trial import read_trial
from ..text_tables import format_table
from .options import add_numbers, check_numbers, check_prompt, run_overrides

SDS, SAMPLING = "configs/text2image/sds.yaml", "configs/text2image/ancestral.yaml"
# One step, in which the sampler runs: there is nothing to resume.
NO_CHECKPOINT = ["checkpoint.save_last=false", "checkpoint.save_top_k=0", "checkpoint.every_n_train_steps=0"]
OTHERS = {"3d": ".demo_3d", "inverse": ".demo_inverse"}
GAMMA = 20.0  # as in configs/text2image/sds.yaml: more diversity comes with artifacts


def main(argv: Sequence[str] | None = None) -> int:
    """`rsd demo`: three runs, a table, a page; `rsd demo inverse` and `rsd demo 3d` are others, see OTHERS.

    Raises:
        UserError: an impossible argument, or an output folder that cannot be made.
    """
    argv = list(argv or [])
    if argv and argv[0] in OTHERS:
        return importlib.import_module(OTHERS[argv[0]], __package__).main(argv[1:])
    args = _parser().parse_args(argv)
    _check(args)
    make_folder(args.output)
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    with_repulsion = f"gamma = {args.gamma:g}"
    training = [f"trainer.max_steps={args.steps}", f"trainer.val_check_interval={min(args.steps, 100)}"]
    runs = [
        ("without repulsion", SDS, f"gamma-0@{stamp}", [*training, "system.guidance.gamma=0"]),
        (with_repulsion, SDS, f"gamma-{args.gamma:g}@{stamp}", [*training, f"system.guidance.gamma={args.gamma}"]),
        ("plain sampling", SAMPLING, f"sampling@{stamp}", NO_CHECKPOINT),
    ]
    trials = []
    for number, (label, config, tag, overrides) in enumerate(runs, start=1):
        print(f"\n[{number}/{len(runs)}] {label}", flush=True)
        code = _launch(args, config, tag, overrides)
        if code:
            return code
        trials.append(read_trial(args.output / "runs" / tag, label))
    page = write_page(
        args.output / "demo.html",
        f'"{args.prompt}", {args.n} times',
        shlex.join(["rsd", "demo", *argv]),
        trials,
        f"Score distillation without repulsion and with {with_repulsion}, {args.steps} steps, on the prior that ships; "
        "plain sampling shows how diverse that prior is by itself.",
    )
    print(f"\n{format_table(*metrics_rows(trials))}\n")
    for trial in trials:
        print(f"{trial.label + ':':<20} {trial.grid}")
    print(f"{'page:':<20} {page}")
    return 0


def _launch(args: argparse.Namespace, config: str, tag: str, overrides: list[str]) -> int:
    everywhere = [
        *run_overrides(args, tag),
        f"system.particles.n_particles={args.n}",
    ]
    return launch(config, "train", [*everywhere, *overrides])


def _check(args: argparse.Namespace) -> None:
    check_numbers(args)
    check_prompt(args.prompt)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rsd demo",
        description="One prompt, several particles, without and with repulsion, as one page.",
        epilog="`rsd demo 3d` makes objects, `rsd demo inverse` restores images whose half is hidden.",
    )
    parser.add_argument("--prompt", default="a mushroom", help="what to show (default: a mushroom)")
    add_numbers(parser, n=8, gamma=GAMMA, steps=300, output="outputs/demo")
    return parser
