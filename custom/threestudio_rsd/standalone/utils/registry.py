"""Registry of the classes that configs name."""

import difflib
from collections.abc import Callable

from ...errors import UserError

_registered: dict[str, type] = {}


def register(name: str) -> Callable[[type], type]:
    """Class decorator that registers a class under a name for configs.

    Args:
        name: such as `implicit-volume`.

    Raises:
        ValueError: another class is registered under this name.
    """

    def add(cls: type) -> type:
        if name in _registered:
            raise ValueError(f"The name {name!r} is registered twice: by {_registered[name]} and by {cls}.")
        _registered[name] = cls
        return cls

    return add


def find(name: str) -> type:
    """Return a registered class.

    Args:
        name: a registered name; `main:a,b` makes a new class with the bases a, b and main, in this order.

    Raises:
        UserError: nothing is registered under the name; suggests similar names.
    """
    main, _, mixins = name.partition(":")
    if not mixins:
        return _lookup(main)
    bases = [_lookup(mixin) for mixin in mixins.split(",")]
    return type(f"{main}.{mixins}", (*bases, _lookup(main)), {})


def _lookup(name: str) -> type:
    if name not in _registered:
        close = difflib.get_close_matches(name, _registered, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else f"registered: {', '.join(sorted(_registered))}."
        raise UserError(f"Nothing is registered as {name!r}; {hint}")
    return _registered[name]
