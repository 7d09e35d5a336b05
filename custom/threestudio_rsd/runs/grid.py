"""Grids of config values: all combinations of settings, and the folder name of each."""

import hashlib
import itertools
import json
import math
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ..errors import UserError, shorten

SEED_KEY = "seed"
PROMPT_KEYS = ("system.prompt_processor.prompt", "system.solver.prompt")
GAMMA_KEYS = ("system.guidance.gamma", "system.solver.gamma")
PRIOR_KEYS = ("system.guidance.pretrained_model_name_or_path", "system.pretrained_model_name_or_path")
LONGEST = 120  # bytes of a tag; `rsd launch` shortens longer ones
LONGEST_SEED = 19  # digits
MOST_SEEDS = 10_000
DIGITS = 8  # hexadecimal digits of the hash in a tag

Axis = tuple[str, Sequence[Any]]  # a dotted key and its values


def expand_grid(axes: Sequence[Axis]) -> list[dict[str, Any]]:
    """All combinations of the axes' values, each a dict from key to value; the last axis varies fastest.

    Args:
        axes: dotted keys with their values.

    Raises:
        UserError: a key or a value is repeated, or an axis has no values.

    Example:
        >>> expand_grid([("seed", [0]), ("system.guidance.gamma", [0, 20])])
        [{'seed': 0, 'system.guidance.gamma': 0}, {'seed': 0, 'system.guidance.gamma': 20}]
    """
    keys = [key for key, _ in axes]
    for key, values in axes:
        if keys.count(key) > 1:
            raise UserError(f"{key} is given twice; accepted: each key once, with all its values: {key}=1,2.")
        if not values:
            raise UserError(f"{key} has no values; accepted: at least one.")
        texts = [format_value(value) for value in values]
        for text in texts:
            if texts.count(text) > 1:
                raise UserError(f"{key}={text} is given twice; accepted: different values.")
    return [dict(zip(keys, values, strict=True)) for values in itertools.product(*(values for _, values in axes))]


def make_tag(settings: Mapping[str, Any], method: str = "", further: Mapping[str, Any] | None = None) -> str:
    """Folder name of a run, which depends on its settings only, such as `gamma=10,seed=0,prompt=a_cup-1a2b3c4d`.

    Characters that a file system may reject become `_`, and the end is cut. The hash makes the names of different
    settings differ, also on file systems that ignore case.

    Args:
        settings: settings that the name shows, by dotted key.
        method: prefix of the name.
        further: settings that only change the hash.
    """
    names = short_names(settings)
    # The prompt is last: it may be long, and the end is cut.
    keys = sorted(settings, key=lambda key: (key in PROMPT_KEYS, key == SEED_KEY, key))
    texts = {key: format_value(settings[key]) for key in keys}
    parts = [method] if method else []
    readable = unicodedata.normalize("NFC", ",".join([*parts, *(f"{names[key]}={texts[key]}" for key in keys)]))
    readable = "".join(c if c.isalnum() or c in "_-.,+=" else "_" for c in readable)
    readable = readable.encode("utf-8", "ignore")[: LONGEST - DIGITS - 1].decode("utf-8", "ignore")
    hidden = {key: format_value(value) for key, value in (further or {}).items()}
    content = json.dumps({**texts, **hidden, **({"": method} if method else {})}, sort_keys=True).encode()
    return f"{readable}-{hashlib.sha256(content).hexdigest()[:DIGITS]}"


def short_names(keys: Sequence[str] | Mapping[str, Any]) -> dict[str, str]:
    """Last part of each dotted key, or the whole key where two keys have the same last part.

    Example:
        >>> short_names(["system.guidance.gamma", "seed"])
        {'system.guidance.gamma': 'gamma', 'seed': 'seed'}
    """
    last = {key: key.rsplit(".", 1)[-1] for key in keys}
    return {key: name if list(last.values()).count(name) == 1 else key for key, name in last.items()}


def format_value(value: Any) -> str:
    """A config value as text: 10 for 10.0, true for True, texts without quotes."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def parse_axis(argument: str, option: str = "--set") -> Axis:
    """Key and values of an argument such as `key.subkey=1,2`.

    Args:
        argument: the argument.
        option: option that it belongs to, for error messages.

    Raises:
        UserError: the argument has no `=`, or its values are not valid.

    Example:
        >>> parse_axis("trainer.max_steps=100,200")
        ('trainer.max_steps', [100, 200])
    """
    key, equals, values = argument.partition("=")
    if not equals or not key or key.startswith("-"):
        raise UserError(
            f"{option} {argument!r} is not understood; accepted: KEY=VALUE,VALUE, such as trainer.max_steps=100."
        )
    return key, parse_values(values, f"{option} {key}")


def parse_values(text: str, option: str) -> list[Any]:
    """Values separated by commas, each as in a config: `10,20`, `noisy,clean`, `[0,0,20,300],20`, `"a, b",c`.

    Args:
        text: the values.
        option: option that they belong to, for error messages.

    Raises:
        UserError: no values, invalid YAML, or a number that is not finite.
    """
    accepted = "accepted: values between commas, in quotes or brackets where they have commas themselves"
    try:
        values = OmegaConf.to_container(OmegaConf.create(f"[{text}]"), resolve=False)
    except (yaml.YAMLError, OmegaConfBaseException, ValueError, RecursionError) as error:
        raise UserError(f"{option}={shorten(text)!r} is not understood; {accepted}.") from error
    if not isinstance(values, list) or not values or any(not _is_plain(value) for value in values):
        raise UserError(f"{option}={shorten(text)!r} is not understood; {accepted}.")
    return values


def parse_seeds(text: str) -> list[int]:
    """Seeds from a range `FIRST:END` without its end, or from a list.

    Args:
        text: value of --seeds.

    Raises:
        UserError: neither a range nor a list, or no seeds.

    Example:
        >>> parse_seeds("0:3"), parse_seeds("0,3")
        ([0, 1, 2], [0, 3])
    """
    first, colon, end = text.partition(":")
    parts = [first, end] if colon else text.split(",")
    if all(part.strip().isdecimal() for part in parts):
        numbers = [int(part) for part in parts if len(part) <= LONGEST_SEED]
        if colon and len(numbers) == 2 and numbers[1] - numbers[0] > MOST_SEEDS:
            raise UserError(f"--seeds={text!r} is {numbers[1] - numbers[0]} seeds; accepted: at most {MOST_SEEDS}.")
        seeds = list(range(*numbers)) if colon and len(numbers) == 2 else numbers
        if seeds and len(numbers) == len(parts):
            return seeds
    raise UserError(
        f"--seeds={shorten(text)!r} is not understood; accepted: FIRST:END such as 0:5 (0 to 4), or a list such as 0,3."
    )


def read_prompts(file: Path) -> list[str]:
    """Lines of a text file that are not blank.

    Args:
        file: value of --prompts.

    Raises:
        UserError: the file cannot be read, or has no such line.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"--prompts={str(file)!r} cannot be read ({error}); accepted: a text file, a prompt a line."
        ) from error
    prompts = [line.strip() for line in lines if line.strip()]
    if not prompts:
        raise UserError(f"--prompts={str(file)!r} is empty; accepted: a text file, a prompt a line.")
    return prompts


def _is_plain(value: Any) -> bool:
    """Whether a value is a text, a finite number, a boolean, null or a list of these."""
    if isinstance(value, list):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
