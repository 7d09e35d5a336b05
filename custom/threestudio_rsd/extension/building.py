"""Building of the modules that a system's config names."""

from typing import Any

from ..errors import UserError
from ..host import find


def build(key: str, name: str, config: Any, kind: type) -> Any:
    """Build a registered module.

    Args:
        key: config key of the name, for the error.
        name: registered name.
        config: config of the module.
        kind: class that it must be of.

    Raises:
        UserError: the name is that of another kind of module, or the config does not fit.
    """
    found: Any = find(name)
    if not issubclass(found, kind):
        raise UserError(f"{key}={name!r} is a {found.__name__}; accepted: the registered name of a {kind.__name__}.")
    return found(config)
