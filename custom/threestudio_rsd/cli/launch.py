"""`rsd launch`: train, validate, test or export one experiment, with the arguments of threestudio's launch.py."""

import argparse

from .options import CommandParser, Parsers, add_command

MODES = {  # with their help
    "train": "train, then test",
    "validate": "validate the checkpoint resume=PATH",
    "test": "test the checkpoint resume=PATH",
    "export": "export from the checkpoint resume=PATH",
}


def add_parser(commands: Parsers) -> None:
    """Add `rsd launch`."""
    add_command(
        commands,
        "launch",
        run,
        _add_arguments,
        "Train, validate, test or export an experiment, with the arguments of threestudio's launch.py.",
        "Further arguments override keys of the config: system.guidance.gamma=20",
    )


def run(args: argparse.Namespace) -> int:
    """Run the experiment; `args.overrides` are the arguments that argparse left over.

    Raises:
        UserError: an option is unknown, or a mistake that `runs.launching.launch` finds.
    """
    unknown = [argument for argument in args.overrides if argument.startswith("-")]
    if unknown:
        args.parser.error(f"unknown arguments: {' '.join(unknown)}")
    from ..runs.launching import launch

    mode = next(mode for mode in MODES if getattr(args, mode))
    return launch(args.config, mode, args.overrides, args.gpu, args.verbose, args.command, args.overwrite)


def _add_arguments(parser: CommandParser) -> None:
    parser.add_argument("--config", required=True, help="YAML file, or the name of a shipped config")
    parser.add_argument("--gpu", default="0", help="GPUs, such as 0 or 1,2; CUDA_VISIBLE_DEVICES has precedence")
    parser.add_argument("--overwrite", action="store_true", help="replace a former run in the same trial folder")
    modes = parser.add_mutually_exclusive_group(required=True)
    for mode, text in MODES.items():
        modes.add_argument(f"--{mode}", action="store_true", help=text)
