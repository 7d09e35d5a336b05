"""The one exception that means 'the user can mend this', and the check for optional libraries."""

import importlib
from types import ModuleType


class UserError(ValueError):
    """A mistake of the user's: one sentence with the key, the value and what is accepted.

    The command line prints it without a traceback and exits with 2.
    """


def require(module: str, extra: str | None = None) -> ModuleType:
    """Import an optional library, which `extra` brings; without an extra, one that a bare threestudio may lack.

    Raises:
        UserError: it is not installed; says what to install.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module if extra is None else f"threestudio-rsd[{extra}]"
        raise UserError(f"{module} is not installed ({error}): run `pip install {package}`.") from error


def check_choice(key: str, value: str, accepted: tuple[str, ...]) -> None:
    """Raise UserError unless `value` is one of `accepted`."""
    if value not in accepted:
        raise UserError(f"{key}={value!r} is unknown; accepted: {', '.join(accepted)}.")


def first_line(error: Exception) -> str:
    """First line of an error's text, to be quoted in a sentence."""
    return (str(error).strip().split("\n")[0] or type(error).__name__).rstrip(".")
