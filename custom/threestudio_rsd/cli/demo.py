"""`rsd demo`, `rsd demo 3d`, `rsd demo inverse`: runs on the bundled prior, side by side in a table and on a page.

- `rsd demo`: N images of each of several prompts and seeds by SDS, with repulsion as in the paper, along the
  prior's own flow, and by plain sampling.
- `rsd demo 3d`: one prompt, N NeRFs by SDS without and with repulsion, and along the prior's own flow.
- `rsd demo inverse`: three images whose left half is hidden, N answers to each by PSLD, by RSD, the paper's solver with
  repulsion, and by the proximal solver.
"""

import argparse
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ..errors import require
from ..files import data_path, make_folder
from ..text_tables import format_table
from .options import COMMAND, CommandParser, Parsers, add_command, add_option, non_empty, quote, usable_device

REPRESENTATIONS = {  # of 3D objects: folder of configs, and name of the objects
    "nerf": ("configs/text2nerf", "NeRFs"),
    "gaussians": ("configs/text2gaussians", "clouds of Gaussians"),
}
SDS, FLOW = "dreamfusion-bundled.yaml", "flow-bundled.yaml"
HALF_BOX = "configs/inverse/half-box.yaml"
HALF_BOX_PSLD, HALF_BOX_PROXIMAL = "configs/inverse/half-box-psld.yaml", "configs/inverse/half-box-proximal.yaml"
MOST_WORKERS = 4  # each holds the networks, about 1 GB
GAMMA = 20.0  # as in SDS: a larger weight gives more diversity with artifacts
INVERSE_GAMMA = 15.0  # 50 in Table 1, which gives artifacts here
INVERSE_STEPS = 100  # three runs in at most four minutes on two cores
EXAMPLES = "load/inverse/examples"
IMAGES = ("car", "house", "mushroom")  # names of the EXAMPLES that are restored
SHOWN = (  # metrics in the tables, after the diversities
    "psnr",
    "psnr_of_mean",
    "residual",
    "class_accuracy",
    "view_accuracy",
    "colors",
    "seconds_per_step",
)
NOTE_3D = (
    "{n} {objects} are optimized together by score distillation from the bundled prior, seen from one camera in each "
    "step. SDS without repulsion is {n} independent runs; with fixed noise each object keeps its noise in all steps. "
    "This is one prompt and one seed, for which either may give the better result by chance: the README has means over "
    "several."
)
NOTE_INVERSE = (
    "Renders that no training saw, restored with the bundled prior by PSLD, by the paper's solver with repulsion, and "
    "by the proximal solver. The mean of the answers is the estimate of least squared error if they "
    "are samples of the posterior; their deviation is then its uncertainty."
)


@dataclass
class DemoRun:
    """One run of a demo.

    Attributes:
        label: name in the table and on the page.
        config: YAML file.
        tag: name of the run's folder, to which the time is added.
        overrides: values of the config.
    """

    label: str
    config: str
    tag: str
    overrides: list[str]


def add_parser(commands: Parsers) -> None:
    """Add `rsd demo` with its commands."""
    add_command(
        commands,
        "demo",
        run,
        _add_arguments,
        "Make N images of a prompt by score distillation, repulsion, fixed noise and sampling: a table and a page.",
        "`rsd demo 3d` makes 3D objects, `rsd demo inverse` restores images whose half is hidden.",
    )


def run(args: argparse.Namespace) -> int:
    """`rsd demo`."""
    from ..reproduce.definitions import read_demo, read_methods
    from ..reproduce.experiment_files import BUNDLED
    from ..reproduce.planning import PARTICLE_KEYS, Choice, plan
    from ..reproduce.run_tables import Panel, Reproduction
    from ..runs.grid import parse_seeds
    from ..runs.workers import available_cores
    from .reproduce import complete

    args.workers = args.workers or min(available_cores(), MOST_WORKERS)
    experiment = read_demo()
    seeds = None if args.seeds is None else parse_seeds(args.seeds)
    choice = Choice(prompts=args.prompt, seeds=seeds, overrides={PARTICLE_KEYS[0]: args.n_particles})
    cases = plan(experiment, read_methods(), choice, args.output)
    reproduction = Reproduction("demo", experiment, cases, args.output, args.command, BUNDLED, quick=False)
    return complete(reproduction, Panel(bundled=True, reference=None, device=usable_device(None)), args)


def run_3d(args: argparse.Namespace) -> int:
    """`rsd demo 3d`."""
    common = [
        *_prompt_overrides(args),
        f"system.geometry.n_particles={args.n_particles}",
        f"data.batch_size={args.n_particles}",
        f"trainer.max_steps={args.steps}",
        f"trainer.val_check_interval={args.steps}",
    ]
    folder, objects = REPRESENTATIONS[args.representation]
    sds, flow = f"{folder}/{SDS}", f"{folder}/{FLOW}"
    runs = [
        DemoRun("SDS", sds, "gamma-0", [*common, "system.guidance.gamma=0"]),
        DemoRun(f"SDS, gamma = {args.gamma:g}", sds, "repulsion", [*common, f"system.guidance.gamma={args.gamma}"]),
        DemoRun("fixed noise (ours)", flow, "flow", common),
    ]
    title = f'"{args.prompt}", {args.n_particles} objects'
    return _run_demo(args, runs, "3d-demo.html", title, NOTE_3D.format(n=args.n_particles, objects=objects))


def run_inverse(args: argparse.Namespace) -> int:
    """`rsd demo inverse`.

    Raises:
        UserError: deepinv is not installed.
    """
    require("deepinv", "inverse")
    make_folder(args.output)
    common = [
        f"data.image_path={quote(str(_copy_examples(args.output / 'images')))}",
        f"data.operator.seed={args.seed}",
        f"system.solver.n_particles={args.n_particles}",
        f"system.solver.n_steps={args.steps}",
        f"trainer.val_check_interval={args.steps}",
    ]
    runs = [
        DemoRun("PSLD", HALF_BOX_PSLD, "psld", common),
        DemoRun(
            f"rsd, gamma = {args.gamma:g}",
            HALF_BOX,
            f"gamma-{args.gamma:g}",
            [*common, f"system.solver.gamma={args.gamma}"],
        ),
        DemoRun("proximal", HALF_BOX_PROXIMAL, "proximal", common),
    ]
    title = f"The left half is hidden: {args.n_particles} answers each"
    return _run_demo(args, runs, "inverse-demo.html", title, NOTE_INVERSE)


def _run_demo(args: argparse.Namespace, runs: Sequence[DemoRun], page: str, title: str, note: str) -> int:
    """Launch the runs, print a table of their metrics, and write a page.

    Args:
        args: parsed arguments.
        runs: runs in order.
        page: file name of the page.
        title: heading of the page.
        note: sentence under the heading.

    Returns:
        Exit code: that of the first run that failed or was interrupted, else 0.
    """
    from ..report.page import write_report
    from ..runs.launching import launch
    from ..runs.trial import find_grid

    make_folder(args.output)
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    folders: dict[str, Path] = {}
    for number, each in enumerate(runs, start=1):
        print(f"\n[{number}/{len(runs)}] {each.label}", flush=True)
        tag = f"{each.tag}@{stamp}"
        place = [f"exp_root_dir={quote(str(args.output))}", "name=runs", f"tag={tag}", "use_timestamp=false"]
        code = launch(each.config, "train", [*place, f"seed={args.seed}", *each.overrides])
        if code:
            return code
        folders[each.label] = args.output / "runs" / tag
    print(f"\n{metrics_table(folders)}\n")
    for label, folder in folders.items():
        print(f"{label + ':':<20} {find_grid(folder)}")
        for video in sorted((folder / "save").glob("it*-test.mp4")):
            print(f"{'':<20} {video}")
    print(write_report(folders, args.output / page, title, note, args.command))
    return 0


def metrics_table(folders: Mapping[str, Path]) -> str:
    """Table of the metrics of finished runs for a terminal: diversities first, then those in SHOWN that were measured.

    Args:
        folders: trial folder of each run, by label.
    """
    from ..metrics.names import metric_info
    from ..runs.trial import DIVERSITY, read_values

    values = {
        label: read_values(json.loads((folder / "save" / "metrics.json").read_text(encoding="utf-8")))
        for label, folder in folders.items()
    }
    measured = list(dict.fromkeys(key for each in values.values() for key in each))
    keys = [*(key for key in measured if key.startswith(DIVERSITY)), *(key for key in SHOWN if key in measured)]
    rows = [[label, *(metric_info(key).format(each.get(key)) for key in keys)] for label, each in values.items()]
    return format_table(["run", *(metric_info(key).title for key in keys)], rows)


def _copy_examples(folder: Path) -> Path:
    """Copy the shipped examples IMAGES and their descriptions to a folder."""
    make_folder(folder)
    examples = data_path(EXAMPLES)
    records = json.loads((examples / "truth.json").read_text(encoding="utf-8"))
    records = [record for record in records if Path(record["file"]).stem in IMAGES]
    for record in records:
        shutil.copyfile(examples / record["file"], folder / record["file"])
    (folder / "truth.json").write_text(json.dumps(records, indent=2) + "\n", encoding="utf-8")
    return folder


def _prompt_overrides(args: argparse.Namespace) -> list[str]:
    return [f"system.prompt_processor.prompt={quote(args.prompt)}"]


def _add_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "--prompt",
        action="append",
        type=non_empty,
        help="text that the particles show; may be given several times; three prompts by default",
    )
    parser.add_argument("--seeds", help="0:4 for 0 to 3, or a list such as 0,3; 0 and 1 by default")
    add_option(parser, "--n-particles", 4)
    add_option(parser, "--output", Path("outputs/demo"))
    add_option(parser, "--workers", help="number of runs at a time; one for each core by default, at most 4")
    # `rsd reproduce` has options for these.
    parser.set_defaults(run=True, prior="bundled", backend="local", slurm=[])
    commands = parser.add_subparsers(metavar=COMMAND, title="other demos")
    add_command(
        commands,
        "3d",
        run_3d,
        _add_3d_options,
        "Optimize several objects for one prompt, by SDS, with repulsion and with fixed noise: a table and a page.",
    )
    add_command(
        commands,
        "inverse",
        run_inverse,
        lambda each: _add_options(each, 4, INVERSE_GAMMA, INVERSE_STEPS, "outputs/inverse-demo"),
        "Restore three images whose left half is hidden by three solvers: a table and a page.",
    )


def _add_3d_options(parser: CommandParser) -> None:
    parser.add_argument(
        "--representation",
        choices=REPRESENTATIONS,
        default="nerf",
        help="what the objects are",
    )
    _add_options(parser, 4, GAMMA, 400, "outputs/3d-demo", "a mushroom")


def _add_options(
    parser: CommandParser, n_particles: int, gamma: float, steps: int, output: str, prompt: str | None = None
) -> None:
    """Add the options of a demo with their defaults; one without a prompt has no --prompt."""
    if prompt is not None:
        add_option(parser, "--prompt", prompt)
    add_option(parser, "--n-particles", n_particles)
    add_option(parser, "--gamma", gamma)
    add_option(parser, "--steps", steps)
    add_option(parser, "--output", Path(output))
    add_option(parser, "--seed", 0, "seed of particles, noise and timesteps")
