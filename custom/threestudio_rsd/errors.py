"""`UserError`, a mistake that the user can fix, and the checks that raise it."""

import importlib
import math
from collections.abc import Sequence
from types import ModuleType

# Name of a library's package on PyPI, where it is not that of its module
PACKAGES = {
    "deepinv": "'deepinv>=0.3'",
    "imageio_ffmpeg": "imageio-ffmpeg",
    "skimage": "scikit-image",
    "torch_fidelity": "torch-fidelity",
}


class UserError(ValueError):
    """A mistake that the user can fix: one sentence with the key, the value and what is accepted.

    The command line prints it without a traceback and exits with code 2.
    """


def require(module: str, extra: str | None = None) -> ModuleType:
    """Import an optional library.

    Args:
        module: name of the library.
        extra: extra of this package that installs it; None: a library that a bare threestudio may lack.

    Raises:
        UserError: the library is not installed, or cannot be imported; says what to install.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        library = module.partition(".")[0]
        package = PACKAGES.get(library, library)
        here = f", or `pip install .[{extra}]` in a checkout of threestudio-rsd" if extra else ""
        raise UserError(f"{module} is not installed ({error}): run `pip install {package}`{here}.") from error
    except (ImportError, OSError) as error:  # a compiled part that does not fit this machine
        raise UserError(
            f"{module} is installed but cannot be imported ({first_line(error)}); install it anew."
        ) from error


def one_of(key: str, value: object, accepted: Sequence[object]) -> None:
    """Check that `value` is one of `accepted`.

    Args:
        key: name of the setting, for the message.
        value: value to check.
        accepted: accepted values.

    Raises:
        UserError: it is not; names the key, the value and the accepted values.
    """
    if value not in accepted:
        raise UserError(f"{key}={value!r} is unknown; accepted: {', '.join(map(str, accepted))}.")


def positive(key: str, value: float) -> None:
    """Check that `value` is a finite number above 0.

    Args:
        key: name of the setting, for the message.
        value: number to check.

    Raises:
        UserError: it is not; names the key, the value and what is accepted.
    """
    if not (math.isfinite(value) and value > 0):
        raise UserError(f"{key}={value} is impossible; accepted: a number above 0.")


def in_range(key: str, value: float, low: float, high: float | None = None, kind: str | None = None) -> None:
    """Check that `value` is finite and low <= value <= high.

    Args:
        key: name of the setting, for the message.
        value: number to check.
        low: smallest accepted value.
        high: largest accepted value; None: no upper limit.
        kind: such as "an integer" or "null or a number"; None: an integer where `low` is one, else a number.

    Raises:
        UserError: it is not; names the key, the value and the accepted range.

    Example:
        >>> in_range("n_particles", 4, 1)
        >>> in_range("entropy_weight", 1.5, 0.0, 1.0)
        Traceback (most recent call last):
        threestudio_rsd.errors.UserError: entropy_weight=1.5 is impossible; accepted: a number from 0 to 1.
    """
    if math.isfinite(value) and value >= low and (high is None or value <= high):
        return
    kind = kind or ("an integer" if isinstance(low, int) else "a number")
    limits = f"of at least {low:g}" if high is None else f"from {low:g} to {high:g}"
    raise UserError(f"{key}={value} is impossible; accepted: {kind} {limits}.")


def first_line(error: Exception) -> str:
    """First line of an error's message without its period, to be quoted in a sentence; its class where it is empty."""
    return (str(error).strip().split("\n")[0] or type(error).__name__).rstrip(".")
