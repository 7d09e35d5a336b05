"""The command `rsd`."""

import argparse
import errno
import importlib
import os
import sys
from collections.abc import Sequence

from ..errors import UserError

USAGE = """usage: rsd COMMAND ...

commands:
  launch    train, validate, test or export an experiment (the arguments of threestudio's launch.py)
  demo      one prompt, several particles, without and with repulsion, as one page;
            `rsd demo 3d`: the same for NeRFs;
            `rsd demo inverse`: several answers to each of three images whose half is hidden
  evaluate  every metric of runs, folders and images
  sweep     a grid of runs, here or on a cluster; what is finished is not run again
  reproduce a figure or table of the paper, its numbers beside ours
  report    one page of any run, sweep or reproduction: images side by side, trade-offs, numbers, curves
  toy       the paper's two-dimensional problem
  toyworld  the bundled world: render it, check its networks, train them anew

`rsd COMMAND --help` says more; --verbose shows the traceback of an error."""

COMMANDS = {
    "demo": ".demo",
    "evaluate": ".evaluate",
    "report": ".report",
    "reproduce": ".reproduce",
    "sweep": ".sweep",
    "toy": ".toy",
    "toyworld": ".toyworld",
}
MODES = ("train", "validate", "test", "export")
USER_ERROR = 2
INTERRUPTED = 130
OUTSIDE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)  # the machine's fault, not the program's


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: arguments without the program's name; those of the process by default.

    Returns:
        Exit code: 0, 1 where a check is missed, 2 for a mistake of the user's, 130 after Ctrl-C.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    verbose = "--verbose" in arguments
    os.environ.setdefault("RSD_HOST", "embedded")  # also where a threestudio is installed, which has its own launcher
    try:
        return _dispatch(arguments, verbose)
    except UserError as error:
        return _fail(str(error), verbose)
    except OSError as error:
        if error.errno not in OUTSIDE:
            raise
        return _fail(f"{error.filename or 'A file'} cannot be written: {error.strerror}.", verbose)
    except KeyboardInterrupt:
        print("rsd: interrupted", file=sys.stderr)
        return INTERRUPTED


def _launch(arguments: Sequence[str]) -> int:
    """`rsd launch`."""
    from ..runs.launching import launch

    args, overrides = _launch_parser().parse_known_args(arguments)
    mode = next(mode for mode in MODES if getattr(args, mode))
    return launch(args.config, mode, overrides, args.gpu, args.verbose, ["rsd", "launch", *arguments])


def _dispatch(arguments: list[str], verbose: bool) -> int:
    command = arguments[0] if arguments else "--help"
    if command in ("-h", "--help"):
        print(USAGE)
        return 0
    if command == "launch":
        return _launch(arguments[1:])
    if command in COMMANDS:
        module = importlib.import_module(COMMANDS[command], __package__)
        return module.main([argument for argument in arguments[1:] if argument != "--verbose"]) or 0
    raise UserError(f"Command {command!r} is unknown; accepted: launch, {', '.join(COMMANDS)}.")


def _launch_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rsd launch",
        description="Run an experiment. Further arguments override the config: system.guidance.gamma=20",
    )
    parser.add_argument("--config", required=True, help="YAML file, or the name of one that ships")
    parser.add_argument("--gpu", default="0", help="GPUs, such as 0 or 1,2; CUDA_VISIBLE_DEVICES wins; CPU if none")
    modes = parser.add_mutually_exclusive_group(required=True)
    modes.add_argument("--train", action="store_true", help="train, then test")
    modes.add_argument("--validate", action="store_true", help="validate the checkpoint resume=PATH")
    modes.add_argument("--test", action="store_true", help="test the checkpoint resume=PATH")
    modes.add_argument("--export", action="store_true", help="export from the checkpoint resume=PATH")
    parser.add_argument("--verbose", action="store_true", help="debug messages, and tracebacks of errors")
    return parser


def _fail(sentence: str, verbose: bool) -> int:
    if verbose:
        import traceback

        traceback.print_exc()
    print(f"rsd: error: {sentence}", file=sys.stderr)
    return USER_ERROR


if __name__ == "__main__":
    sys.exit(main())
