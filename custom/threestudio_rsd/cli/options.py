"""Parser class, argument types and options that the commands share."""

import argparse
import json
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from ..errors import UserError, first_line, shorten

Parsers: TypeAlias = "argparse._SubParsersAction[CommandParser]"
COMMAND = "COMMAND"  # metavar of commands
MOST_WORKERS = 1024
MAX_SEED = 2**63 - 1  # largest seed of torch.Generator
CHOICE = re.compile(r"invalid choice: (.+?) \(.*choose from (.+)\)", re.DOTALL)


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the default of every option that has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False or action.default == []:
            return action.help
        return super()._get_help_string(action)


class CommandParser(argparse.ArgumentParser):
    """Parser of a command; mistakes are raised as `UserError`.

    Args:
        add_arguments: adds the arguments. It is called when the parser is first used, so that the arguments of one
            command may depend on libraries and files that other commands do not need.
        **options: those of `argparse.ArgumentParser`.
    """

    def __init__(self, add_arguments: "Callable[[CommandParser], None] | None" = None, **options: Any) -> None:
        super().__init__(formatter_class=HelpFormatter, **options)
        self._add_arguments = add_arguments
        self.set_defaults(parser=self)
        self.add_argument(
            "--verbose", action="store_true", default=argparse.SUPPRESS, help="show debug messages and tracebacks"
        )

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if self._add_arguments is not None:
            add_arguments, self._add_arguments = self._add_arguments, None
            add_arguments(self)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        raise UserError(_sentence(message, self.prog))


def add_command(
    commands: Parsers,
    name: str,
    run: Callable[[argparse.Namespace], int] | None,
    add_arguments: Callable[[CommandParser], None],
    description: str,
    epilog: str | None = None,
) -> None:
    """Add a command to a parser.

    Args:
        commands: what `add_subparsers` of the parser returned.
        name: as the user types it.
        run: computes the exit code; None: the command only shows its help, since it needs a further command.
        add_arguments: adds the arguments to the command's parser.
        description: sentence about the command, shown in its own help and in the list of commands.
        epilog: text at the end of its help.
    """

    def complete(parser: CommandParser) -> None:
        parser.set_defaults(function=run)
        add_arguments(parser)

    summary = (description[0].lower() + description[1:]).rstrip(".").replace("%", "%%")
    commands.add_parser(name, add_arguments=complete, help=summary, description=description, epilog=epilog)


def positive_int(text: str) -> int:
    """Argument type: an integer of at least 1."""
    return _integer(text, 1)


def non_negative_int(text: str) -> int:
    """Argument type: an integer of at least 0, small enough for a seed."""
    return _integer(text, 0)


def worker_count(text: str) -> int:
    """Argument type: a number of processes."""
    value = positive_int(text)
    if value > MOST_WORKERS:
        raise impossible(text, f"an integer from 1 to {MOST_WORKERS}")
    return value


def positive_float(text: str) -> float:
    """Argument type: a number above 0."""
    value = _number(text)
    if value is None or value <= 0:
        raise impossible(text, "a number above 0")
    return value


def number_between(low: float, high: float) -> Callable[[str], float]:
    """Argument type: a number from `low` to `high`."""

    def parse(text: str) -> float:
        value = _number(text)
        if value is None or not low <= value <= high:
            raise impossible(text, f"a number from {low:g} to {high:g}")
        return value

    return parse


def non_empty(text: str) -> str:
    """Argument type: text that is not blank, such as a prompt."""
    if not text.strip():
        raise impossible(repr(text), "a text such as 'a mushroom'")
    return text


def any_path(text: str) -> Path:
    """Argument type: a path, in which a leading `~` is the home folder."""
    if not text.strip():
        raise impossible(repr(text), "the path of a file or folder")
    path = Path(os.path.expanduser(text))  # noqa: PTH111 Path.expanduser() raises for an unknown user
    try:
        path.exists()
    except OSError as error:  # such as a name that is too long
        raise impossible(repr(text), f"a path that this system allows ({error.strerror})") from error
    return path


def existing_folder(text: str) -> Path:
    """Argument type: a folder that exists."""
    path = any_path(text)
    if not path.is_dir():
        raise impossible(repr(text), "an existing folder")
    return path


def new_file(text: str) -> Path:
    """Argument type: a file to be written."""
    path = any_path(text)
    if path.is_dir():
        raise impossible(repr(text), "a file, not a folder")
    return path


def impossible(value: str, accepted: str) -> argparse.ArgumentTypeError:
    """Error of an argument type; argparse adds the option's name."""
    return argparse.ArgumentTypeError(f"{shorten(value)} is impossible; accepted: {accepted}.")


OPTIONS: dict[str, dict[str, Any]] = {
    "--n-particles": {"type": positive_int, "metavar": "N", "help": "number of particles"},
    "--gamma": {"type": positive_float, "help": "repulsion weight"},
    "--steps": {"type": positive_int, "help": "optimization steps"},
    "--seed": {"type": non_negative_int, "help": "seed of the random draws"},
    "--prompt": {"type": non_empty, "help": "text that the particles show"},
    "--prior": {"help": "diffusion model: bundled, a hub id or a folder"},
    "--output": {"type": any_path, "metavar": "FOLDER", "help": "folder of the results"},
    "--device": {"help": "device of the networks, such as cpu; the first GPU by default, the CPU where there is none"},
    "--workers": {"type": worker_count, "metavar": "N", "help": "number of processes that work at a time"},
    "--set": {"action": "extend", "nargs": "+", "metavar": "KEY=VALUE"},
}
SHORT = {"--n-particles": "-n"}


def add_option(parser: argparse.ArgumentParser, name: str, default: Any = None, help: str | None = None) -> None:
    """Add one of OPTIONS.

    Args:
        parser: parser of a command.
        name: a key of OPTIONS.
        default: value where the option is not given.
        help: text of the help, where that of OPTIONS is not specific enough.
    """
    names = [SHORT[name], name] if name in SHORT else [name]
    texts = {} if help is None else {"help": help}
    parser.add_argument(*names, default=default, **{**OPTIONS[name], **texts})


def usable_device(device: str | None) -> str:
    """Value of --device: as given, else cuda where PyTorch can use a GPU, else cpu.

    Raises:
        UserError: PyTorch cannot use the device.
    """
    import torch

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=device).cpu()  # `meta` has no values
    except (RuntimeError, AssertionError, ValueError, NotImplementedError) as error:  # AssertionError: without CUDA
        raise UserError(
            f"--device={device!r} cannot be used ({shorten(first_line(error))}); accepted: cpu, cuda."
        ) from error
    return device


def quote(text: str) -> str:
    """A text as the value of a config override, which is read as YAML."""
    return json.dumps(text, ensure_ascii=False)


def _integer(text: str, low: int) -> int:
    value = int(text) if re.fullmatch(r"[+-]?\d{1,4000}", text.strip()) else None  # int() refuses 4,300 digits
    if value is None or value < low:
        raise impossible(text, f"an integer of at least {low}")
    if value > MAX_SEED:
        raise impossible(text, f"an integer from {low} to {MAX_SEED}")
    return value


def _number(text: str) -> float | None:
    """The number in a text; None where it is no finite number."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _sentence(message: str, prog: str) -> str:
    """Argparse's message about a mistake in the form of this package's errors."""
    argument = re.fullmatch(r"argument (?:\S+/)?(\S+): (.+)", message, re.DOTALL)
    if argument is None:
        return f"{message[0].upper()}{message[1:]}; `{prog} --help` lists what is accepted."
    name, text = argument.groups()
    choice = CHOICE.match(text)
    if choice is not None:
        value, accepted = choice[1], choice[2].replace("'", "")
        subject = f"Command {value}" if name == COMMAND else f"{name}={value}"
        return f"{subject} is unknown; accepted: {accepted}."
    return f"{name}={text}" if "accepted: " in text else f"{name}: {text}; `{prog} --help` lists what is accepted."
