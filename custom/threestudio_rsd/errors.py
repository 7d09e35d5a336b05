"""The one exception that means 'the user can mend this', and the check for optional libraries."""

import importlib
from types import ModuleType


class UserError(ValueError):
    """A mistake of the user's: one sentence with the key, the value and what is accepted.

    The command line prints it without a traceback and exits with 2.
    """


def require(module: str, extra: str) -> ModuleType:
    """Import an optional library.

    Raises:
        UserError: it is not installed; names the extra that brings it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{module} is not installed ({error}): run `pip install threestudio-rsd[{extra}]`."
        ) from error


def check_choice(key: str, value: str, accepted: tuple[str, ...]) -> None:
    """Raise UserError unless `value` is one of `accepted`."""
    if value not in accepted:
        raise UserError(f"{key}={value!r} is unknown; accepted: {', '.join(accepted)}.")
