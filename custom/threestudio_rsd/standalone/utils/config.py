"""Typed configs: checks of what a user wrote against a dataclass, with errors that name the key."""

import dataclasses
import difflib
import re
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, MissingMandatoryValue, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ...errors import UserError, first_line, shorten

ESCAPED = re.compile(r"(\\+)\$\{")
LARGEST_INTEGER = 2**63 - 1
INTERPOLATION = re.compile(r"(\\*)\$\{")  # with the backslashes in front of it, which OmegaConf reads as escapes


def parse_structured(fields: type, cfg: Mapping | None = None) -> Any:
    """Check a config against a dataclass.

    Args:
        fields: dataclass with the accepted keys, their types and defaults.
        cfg: values that a user set; None: none.

    Returns:
        DictConfig with all fields.

    Raises:
        UserError: an unknown key, a value of a wrong type, or a mandatory value (`???`) that is missing.
    """
    prefix = _full_key(cfg)
    known = {field.name: field for field in dataclasses.fields(fields) if field.init}
    values = {}
    given: Mapping = {} if cfg is None else cfg
    for key in given:
        if key not in known:
            raise UserError(_unknown_key(prefix, str(key), given, list(known)))
        values[key] = _plain_value(given, key, prefix)
    parsed = OmegaConf.structured(fields)
    for key, value in values.items():
        _set_typed(parsed, key, value, prefix, known[key])
    if hasattr(fields, "__post_init__"):  # it computes with values that have their types now
        parsed = OmegaConf.structured(fields(**{key: literal(config_to_primitive(parsed[key])) for key in values}))
    # A root has no key of its own; with this one, errors in parts of the config name the whole path.
    parsed._metadata.key = prefix.rstrip(".") or None
    return parsed


def literal(value: Any) -> Any:
    """Escape `${` in texts, also within dicts and lists, so that OmegaConf does not take them for interpolations.

    Args:
        value: plain value. Reading it from a config gives the value without the escapes.

    Example:
        >>> literal({"prompt": "costs ${price}"})
        {'prompt': 'costs \\\\${price}'}
        >>> OmegaConf.create(literal({"prompt": "costs ${price}"})).prompt
        'costs ${price}'
    """
    if isinstance(value, str):
        return INTERPOLATION.sub(lambda found: 2 * found[1] + r"\${", value)
    if isinstance(value, dict):
        return {key: literal(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [literal(each) for each in value]
    return value


def without_escapes(value: Any) -> Any:
    """Inverse of `literal`, for configs that are read without resolving interpolations."""
    if isinstance(value, str):
        return ESCAPED.sub(lambda found: found[1][: len(found[1]) // 2] + "${", value)
    if isinstance(value, dict):
        return {key: without_escapes(each) for key, each in value.items()}
    if isinstance(value, list):
        return [without_escapes(each) for each in value]
    return value


def config_to_primitive(config: Any, resolve: bool = True) -> Any:
    """Convert a config to plain dicts and lists.

    Args:
        config: an OmegaConf node; anything else is returned unchanged.
        resolve: replace interpolations such as `${data.width}` by their values.
    """
    return OmegaConf.to_container(config, resolve=resolve) if OmegaConf.is_config(config) else config


def key_of(cfg: Any, name: str) -> str:
    """Dotted key by which a user sets a field of a parsed config, such as `system.geometry.particle.radius`.

    Args:
        cfg: result of `parse_structured`.
        name: field of its class.
    """
    return f"{_full_key(cfg)}{name}"


def dump_config(path: str, config: Any) -> None:
    """Write a config as a YAML file."""
    OmegaConf.save(config, path)


def _check_size(key: str, value: Any) -> None:
    """Check that the integers of a value, also within lists and dicts, fit the 64 bits that libraries have for them.

    Raises:
        UserError: one does not.
    """
    if isinstance(value, dict | list | tuple):
        for name, each in value.items() if isinstance(value, dict) else enumerate(value):
            _check_size(f"{key}.{name}" if isinstance(value, dict) else f"{key}[{name}]", each)
    elif isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        raise UserError(
            f"{key}={'-' if value < 0 else ''}{_digits(value)} is impossible; accepted: an integer of at most 64 bits."
        )


def _digits(value: int) -> str:
    """Digits of an integer; only their number where Python refuses to convert so many."""
    try:
        return shorten(str(abs(value)))
    except ValueError:
        return f"(a number of {round(abs(value).bit_length() * 0.30103)} digits)"


def _full_key(cfg: Any) -> str:
    """Key of a node with a trailing dot, such as `system.guidance.`; empty for a root or a plain dict."""
    if not isinstance(cfg, DictConfig):
        return ""
    keys = []
    node: Any = cfg
    while node is not None:
        if node._key() is not None:
            keys.append(str(node._key()))
        node = node._get_parent()
    return "".join(f"{key}." for key in reversed(keys))


def _plain_value(cfg: Mapping, key: Any, prefix: str) -> Any:
    """Value of a key as plain types: OmegaConf does not check the types of its own nodes."""
    try:
        return config_to_primitive(cfg[key])
    except MissingMandatoryValue as error:
        raise UserError(f"{prefix}{key} has no value; set it in the config or as {prefix}{key}=VALUE.") from error
    except OmegaConfBaseException as error:
        raise UserError(f"{prefix}{key} cannot be resolved: {first_line(error)}.") from error


def _unknown_key(prefix: str, key: str, cfg: Mapping, known: list[str]) -> str:
    try:
        value = config_to_primitive(cfg[key])
    except OmegaConfBaseException:
        value = "?"
    close = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {prefix}{close[0]}? " if close else ""
    return f"{prefix}{shorten(key)}={shorten(repr(value))} is an unknown key; {hint}accepted: {', '.join(known)}."


def _set_typed(parsed: Any, key: str, value: Any, prefix: str, field: dataclasses.Field) -> None:
    """Set a value, converted to the type of its field.

    Raises:
        UserError: it cannot be converted.
    """
    _check_size(f"{prefix}{key}", value)
    try:
        OmegaConf.update(parsed, key, literal(value), merge=False)
        _ = config_to_primitive(parsed[key])  # an escaped text in place of a number fails here
    except (OmegaConfBaseException, ValueError, OverflowError) as error:
        full_key = str(getattr(error, "full_key", None) or key)  # with the index of an element of a list
        expected: Any = field.type
        name = getattr(expected, "__name__", None) if isinstance(expected, type) else expected
        accepted = str(name).replace("typing.", "")
        raise UserError(f"{prefix}{full_key}={shorten(repr(value))} has a wrong type; accepted: {accepted}.") from error
