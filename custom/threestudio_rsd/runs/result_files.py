"""Reading of the files in result folders. A damaged file is an error in one sentence that names it."""

import json
import math
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ..errors import UserError, first_line, shorten
from ..standalone.utils.config import without_escapes

# Types of the entries of a metrics.json that tables and pages read; each may also be null or missing.
METRICS_TYPES: dict[str, tuple[type, str]] = {
    "prompt": (str, "a text"),
    "n_particles": (int, "an integer"),
    "steps": (int, "an integer"),
    "views": (int, "an integer"),
    "mean": (dict, "an object"),
    "images": (dict, "an object"),
    "diversity": (dict, "an object"),
    "similarity": (dict, "an object"),
    "vendi": (dict, "an object"),
    "truth": (dict, "an object"),
    "operator": (dict, "an object"),
}


def damaged(file: Path, error: Exception | str) -> UserError:
    """Error for a file that cannot be read as what it should be.

    Args:
        file: the file.
        error: what is wrong.
    """
    reason = error if isinstance(error, str) else f"{type(error).__name__}: {shorten(first_line(error))}"
    return UserError(f"{str(file)!r} is damaged ({reason}); remove it, or make it again.")


def read_text(file: Path) -> str:
    """Content of a text file in UTF-8.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise damaged(file, error) from error


def read_json(file: Path) -> Any:
    """Content of a JSON file.

    Raises:
        UserError: it cannot be read, is no JSON, or has text that no file can hold.
    """
    text = read_text(file)
    try:
        content = json.loads(text)
        _require_valid_text(content)
    except (ValueError, RecursionError) as error:  # ValueError: also an integer of more digits than Python converts
        raise damaged(file, error) from error
    return content


def _require_valid_text(content: Any) -> None:
    """Raise UnicodeEncodeError for half a surrogate pair, which JSON and YAML can spell and no text file can hold."""
    json.dumps(content, ensure_ascii=False, default=str, skipkeys=True).encode("utf-8")


def read_metrics(folder: Path) -> dict[str, Any] | None:
    """Content of save/metrics.json in a trial folder; None where it is missing, because the run has not finished.

    Raises:
        UserError: it is damaged, an entry has a wrong type, or a number is infinite. NaN stands for what could not be
            measured, in runs of earlier versions.
    """
    file = folder / "save" / "metrics.json"
    if not file.is_file():
        return None
    metrics = read_json(file)
    if not isinstance(metrics, dict):
        raise damaged(file, "it is no object")
    for key, (kind, description) in METRICS_TYPES.items():
        value = metrics.get(key)
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            raise damaged(file, f"{key} is {shorten(repr(value))}, not {description}")
    for key, value in flatten(metrics).items():
        if isinstance(value, float) and math.isinf(value):
            raise damaged(file, f"{key} is {value}")
    return metrics


def read_config(folder: Path) -> dict[str, Any]:
    """Config values of a trial folder by dotted key; an empty dict where configs/parsed.yaml is missing.

    Raises:
        UserError: the file is damaged.
    """
    file = folder / "configs" / "parsed.yaml"
    if not file.is_file():
        return {}
    try:
        config = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
        _require_valid_text(config)
    except (OSError, yaml.YAMLError, OmegaConfBaseException, ValueError, RecursionError) as error:
        raise damaged(file, error) from error
    if not isinstance(config, dict):
        raise damaged(file, "it holds no keys")
    return flatten(without_escapes(config))


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Values of nested dicts by dotted key; lists are values.

    Args:
        config: nested dicts.
        prefix: dotted key of `config` itself.

    Example:
        >>> flatten({"a": {"b": 1}, "c": [2, 3]})
        {'a.b': 1, 'c': [2, 3]}
    """
    if not isinstance(config, dict):
        return {prefix: config}
    result: dict[str, Any] = {}
    for key, value in config.items():
        result |= flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return result
