"""Names that configs use for classes."""

import difflib
from collections.abc import Callable

from ...errors import UserError

_registered: dict[str, type] = {}


def register(name: str) -> Callable[[type], type]:
    """Class decorator that makes the class known as `name` in configs.

    Raises:
        ValueError: the name is taken; two extensions disagree, which no config can mend.
    """

    def remember(cls: type) -> type:
        if name in _registered:
            raise ValueError(f"The name {name!r} is registered twice: by {_registered[name]} and by {cls}.")
        _registered[name] = cls
        return cls

    return remember


def find(name: str) -> type:
    """Class registered as `name`; `main:a,b` is a new class with the bases a, b, main in this order.

    Raises:
        UserError: nothing of that name is registered.
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
