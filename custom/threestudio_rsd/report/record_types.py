"""Check of the types in records that were read from files, against the annotations of their dataclasses."""

import dataclasses
import sys
import types
import typing
from collections.abc import Callable
from typing import Any

from ..errors import shorten


def check_types(record: Any, kind: Any = None, where: str = "") -> None:
    """Check a dataclass and everything in it.

    Args:
        record: instance of a dataclass, or any value if `kind` is given.
        kind: expected type; None: the class of `record`.
        where: name of `record`, for the error.

    Raises:
        TypeError: a value has another type than its annotation, or is an infinite number.

    Example:
        >>> from threestudio_rsd.report.study import Missing
        >>> check_types(Missing("gamma 0", seed="one"))
        Traceback (most recent call last):
        TypeError: seed is 'one', not int | None
    """
    kind = type(record) if kind is None else kind
    kind_of, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return
    if kind_of in (types.UnionType, typing.Union):
        _check_union(record, kind, where)
    elif kind_of in CONTAINERS:
        if not isinstance(record, kind_of):
            raise _wrong(record, kind, where)
        CONTAINERS[kind_of](record, arguments, where)
    elif not _is_a(record, kind):
        raise _wrong(record, kind, where)
    elif dataclasses.is_dataclass(record):
        hints = typing.get_type_hints(kind)
        for field in dataclasses.fields(record):
            check_types(getattr(record, field.name), hints[field.name], _join(where, field.name))


def _is_a(value: Any, kind: Any) -> bool:
    """Whether a value has a type; an int may stand for a float, and a bool for nothing but a bool."""
    if kind in (int, float) and isinstance(value, bool):
        return False
    if kind is float:
        return isinstance(value, int | float) and not abs(value) > sys.float_info.max  # NaN: could not be measured
    return isinstance(value, kind)


def _check_union(value: Any, kind: Any, where: str) -> None:
    for each in typing.get_args(kind):
        try:
            check_types(value, each, where)
        except TypeError:
            continue
        return
    raise _wrong(value, kind, where)


def _check_list(values: list, arguments: tuple, where: str) -> None:
    for index, value in enumerate(values):
        check_types(value, arguments[0], f"{where}[{index}]")


def _check_tuple(values: tuple, arguments: tuple, where: str) -> None:
    if len(values) != len(arguments):
        raise TypeError(f"{where} has {len(values)} entries, not {len(arguments)}")
    for index, (value, kind) in enumerate(zip(values, arguments, strict=True)):
        check_types(value, kind, f"{where}[{index}]")


def _check_dict(values: dict, arguments: tuple, where: str) -> None:
    for key, value in values.items():
        check_types(key, arguments[0], f"a key of {where}")
        check_types(value, arguments[1], _join(where, str(key)))


CONTAINERS: dict[type, Callable[[Any, tuple, str], None]] = {list: _check_list, tuple: _check_tuple, dict: _check_dict}


def _wrong(value: Any, kind: Any, where: str) -> TypeError:
    name = kind.__name__ if isinstance(kind, type) and not typing.get_args(kind) else str(kind)
    return TypeError(f"{where} is {shorten(repr(value), 80)}, not {name}")


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
