"""The command `rsd`: one file for each of its commands, which parses arguments and prints results."""

import sys
from types import TracebackType

__all__ = ["main"]

_excepthook = sys.excepthook


def _show_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print one line in place of a traceback where Ctrl-C ends the program before its `main` can catch it."""
    if issubclass(kind, KeyboardInterrupt):
        print("rsd: interrupted", file=sys.stderr)
    else:
        _excepthook(kind, error, trace)


sys.excepthook = _show_error
