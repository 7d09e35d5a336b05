"""The command `rsd`: its argument parser, and how its errors are shown."""

import errno
import os
import shlex
import sys
from collections.abc import Sequence

from ..errors import UserError, first_line, shorten, valid_text
from . import app, bench, demo, evaluate, launch, report, reproduce, sweep, toy, toyworld
from .options import COMMAND, CommandParser

USER_ERROR = 2
INTERRUPTED = 130
LONGEST_SENTENCE = 3000  # characters
PATHS = (  # errors of paths that no file can have
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.ENOTDIR,
    errno.EISDIR,
)
# Errors of writing that the machine's state explains, such as a full disk
OUTSIDE = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command, and print its error in one sentence.

    Args:
        argv: arguments without the program's name; None: those of the process.

    Returns:
        Exit code: 0; 1 if a run or a check failed; 2 for a mistake of the user; 130 after Ctrl-C.

    Raises:
        SystemExit: with code 0 after --help.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    verbose = "--verbose" in arguments
    try:
        return run_command(arguments)
    except UserError as error:
        return _fail(str(error), verbose)
    except OSError as error:
        if error.errno not in (*OUTSIDE, *PATHS):
            raise
        name = shorten(str(error.filename or "A file"))
        action = "written" if error.errno in OUTSIDE else "used"
        return _fail(f"{name} cannot be {action}: {error.strerror}.", verbose)
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        reason = shorten(first_line(error))
        return _fail(f"Memory is exhausted ({reason}); lower the number of particles, images or pixels.", verbose)
    except KeyboardInterrupt:
        print("rsd: interrupted", file=sys.stderr)
        return INTERRUPTED


def run_command(arguments: Sequence[str]) -> int:
    """Run a command.

    Args:
        arguments: arguments without the program's name.

    Returns:
        Exit code, as for `main`.

    Raises:
        UserError: a mistake of the user.
    """
    for argument in arguments:
        valid_text("Argument", argument)
    os.environ.setdefault("RSD_HOST", "embedded")  # an installed threestudio has its own launcher
    args, further = build_parser().parse_known_args(arguments)
    args.command = shlex.join(["rsd", *(argument for argument in arguments if argument != "--verbose")])
    if args.function is launch.run:
        args.overrides, args.command = further, ["rsd", *arguments]
    elif further:
        args.parser.error(f"unknown arguments: {' '.join(further)}")
    if args.function is None:
        args.parser.print_help()
        return 0
    return args.function(args)


def build_parser() -> CommandParser:
    """Parser of `rsd` with all commands.

    Returns:
        Parser whose results have `function`, which runs the command, or None where a command is missing.
    """
    parser = CommandParser(
        prog="rsd",
        usage="rsd COMMAND ...",
        description="Repulsive score distillation: N different images, objects or answers from one diffusion model.",
        epilog="`rsd COMMAND --help` describes a command. `rsd demo 3d` and `rsd demo inverse` are further demos.",
    )
    parser.set_defaults(function=None, verbose=False)
    commands = parser.add_subparsers(metavar=COMMAND, title="commands", prog="rsd")
    for command in (launch, demo, evaluate, sweep, reproduce, report, app, bench, toy, toyworld):
        command.add_parser(commands)
    return parser


def _is_out_of_memory(error: Exception) -> bool:
    """Whether an allocation has failed: in Python, on a GPU, or by PyTorch on the CPU."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text


def _fail(sentence: str, verbose: bool) -> int:
    if verbose:
        import traceback

        traceback.print_exc()
    print(f"rsd: error: {shorten(' '.join(sentence.split()), LONGEST_SENTENCE)}", file=sys.stderr)
    return USER_ERROR


if __name__ == "__main__":
    sys.exit(main())
