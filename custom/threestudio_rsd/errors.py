"""`UserError`, a mistake that the user can fix, and the checks that raise it."""

import importlib
import math
import os
from collections.abc import Sequence
from types import ModuleType

# Name of a library's package on PyPI, where it is not that of its module
PACKAGES = {
    "imageio_ffmpeg": "imageio-ffmpeg",
    "skimage": "scikit-image",
    "torch_fidelity": "torch-fidelity",
}
LONGEST = 300  # characters of a value that an error shows


class UserError(ValueError):
    """A mistake that the user can fix: one sentence with the key, the value and what is accepted.

    The command line prints it without a traceback and exits with code 2.
    """


class NonFiniteError(UserError):
    """NaN or infinity where only finite numbers are results."""


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
        here = f", or `pip install '.[{extra}]'` in a checkout of threestudio-rsd" if extra else ""
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
        raise UserError(f"{key}={shorten(repr(value))} is unknown; accepted: {', '.join(map(str, accepted))}.")


def positive(key: str, value: float) -> None:
    """Check that `value` is a finite number above 0.

    Args:
        key: name of the setting, for the message.
        value: number to check.

    Raises:
        UserError: it is not; names the key, the value and what is accepted.
    """
    if not (_is_finite(value) and value > 0):
        raise UserError(f"{key}={shorten(str(value))} is impossible; accepted: a number above 0.")


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
    if _is_finite(value) and value >= low and (high is None or value <= high):
        return
    kind = kind or ("an integer" if isinstance(low, int) else "a number")
    limits = f"of at least {low:g}" if high is None else f"from {low:g} to {high:g}"
    raise UserError(f"{key}={shorten(str(value))} is impossible; accepted: {kind} {limits}.")


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond the largest float
        return False


def fits_memory(key: str, value: object, n_bytes: float) -> None:
    """Check that this machine has the memory that a setting needs, before it is allocated.

    Args:
        key: name of the setting, for the message.
        value: its value.
        n_bytes: lower bound of the memory that it needs, bytes.

    Raises:
        UserError: the machine has less memory; names the key, the value and both sizes.

    Example:
        >>> fits_memory("n_particles", 10**14, 10**14 * 4096)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        threestudio_rsd.errors.UserError: n_particles=100000000000000 needs at least 364 PiB of memory, ...
    """
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if n_bytes > size:
        raise UserError(
            f"{key}={shorten(str(value))} needs at least {_format_bytes(n_bytes)} of memory, and this machine has "
            f"{_format_bytes(size)}; accepted: a smaller value."
        )


def _format_bytes(n_bytes: float) -> str:
    """Such as 364 PiB; beyond EiB as a power of ten."""
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB"):
        if n_bytes < 1024:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:.3g} EiB"


def first_line(error: Exception) -> str:
    """First line of an error's message without its period, to be quoted in a sentence; its class where it is empty."""
    return (str(error).strip().split("\n")[0] or type(error).__name__).rstrip(".")


def shorten(text: str, longest: int = LONGEST) -> str:
    """Text with `...` in place of its middle if it is longer than `longest` characters, to be quoted in a sentence.

    Example:
        >>> shorten("9" * 5000, 10)
        '9999...999'
    """
    if len(text) <= longest:
        return text
    kept = longest - len("...")
    return f"{text[: kept - kept // 2]}...{text[len(text) - kept // 2 :]}"


def valid_text(key: str, text: str) -> None:
    """Check that a text can be written to files and used in file names.

    Args:
        key: name of the setting, for the message.
        text: text to check.

    Raises:
        UserError: it has a NUL, or bytes that are not UTF-8 (half a surrogate pair in Python).
    """
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        shown = shorten(ascii(text))
        raise UserError(f"{key}={shown} is not valid text; accepted: UTF-8 without NUL (rename files with such names).")
