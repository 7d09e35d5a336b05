"""Typed configs: checks of what a user wrote against a dataclass, with errors that name the key."""

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, MissingMandatoryValue, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ...errors import UserError, first_line


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
    try:
        parsed = OmegaConf.structured(fields(**values))
    except OmegaConfBaseException as error:
        raise UserError(_wrong_type(prefix, error, values, known)) from error
    # A root has no key of its own; with this one, errors in parts of the config name the whole path.
    parsed._metadata.key = prefix.rstrip(".") or None
    return parsed


def config_to_primitive(config: Any, resolve: bool = True) -> Any:
    """Convert a config to plain dicts and lists.

    Args:
        config: an OmegaConf node; anything else is returned unchanged.
        resolve: replace interpolations such as `${data.width}` by their values.
    """
    return OmegaConf.to_container(config, resolve=resolve) if OmegaConf.is_config(config) else config


def dump_config(path: str, config: Any) -> None:
    """Write a config as a YAML file."""
    OmegaConf.save(config, path)


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
    return f"{prefix}{key}={value!r} is an unknown key; {hint}accepted: {', '.join(known)}."


def _wrong_type(prefix: str, error: OmegaConfBaseException, values: dict, known: dict) -> str:
    full_key = str(error.full_key or error.key)
    name = full_key.split(".")[0].split("[")[0]
    value = config_to_primitive(values.get(name))
    expected = known[name].type if name in known else None
    expected = getattr(expected, "__name__", None) if isinstance(expected, type) else expected
    expected = str(expected).replace("typing.", "")
    return f"{prefix}{full_key}={value!r} has a wrong type; accepted: {expected}."
