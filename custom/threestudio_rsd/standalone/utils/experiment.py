"""Config of a run, from YAML files and command-line overrides, and the names of its output folders."""

import hashlib
import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException

from ...errors import UserError, first_line
from .config import parse_structured
from .messages import warn
from .resolvers import register_resolvers

register_resolvers()

# Keys whose overrides are not parsed as YAML.
TEXTS = ("prompt", "negative_prompt", "prompt_front", "prompt_side", "prompt_back", "prompt_overhead")
LONGEST = 120  # bytes of a tag; with a timestamp, well below the 255 bytes that file systems allow
KEPT = set("_-.,+=@")  # punctuation that a tag may have


@dataclass
class ExperimentConfig:
    """Config of a run, with threestudio's keys and defaults. Output goes to `exp_root_dir/name/tag@timestamp`."""

    name: str = "default"  # folder of related runs, below exp_root_dir
    description: str = ""  # free text
    tag: str = ""  # first part of the trial folder's name; empty: the prompt
    seed: int = 0  # seed of all random generators, plus the rank of the process
    use_timestamp: bool = True  # add the time to the trial folder's name
    timestamp: str | None = None  # such as @20240131-235959; null: now
    exp_root_dir: str = "outputs"  # folder of all runs

    # Set by the constructor
    exp_dir: str = "outputs/default"  # exp_root_dir/name
    trial_name: str = "exp"  # tag and timestamp
    trial_dir: str = "outputs/default/exp"  # exp_dir/trial_name
    n_gpus: int = 1  # number of GPUs that may be used; set by the launcher

    resume: str | None = None  # checkpoint to continue from, or to evaluate

    data_type: str = ""  # registered name of the data module
    data: dict = field(default_factory=dict)  # config of the data module

    system_type: str = ""  # registered name of the system
    system: dict = field(default_factory=dict)  # config of the system

    trainer: dict = field(default_factory=dict)  # arguments of Lightning's Trainer
    checkpoint: dict = field(default_factory=dict)  # arguments of Lightning's ModelCheckpoint

    def __post_init__(self) -> None:
        if not self.tag and not self.use_timestamp:
            raise UserError("tag='' with use_timestamp=False leaves the trial folder without a name; set one of them.")
        if self.timestamp is None:
            self.timestamp = ""
            if self.use_timestamp and self.n_gpus > 1:
                warn("With several GPUs the trial folder has no timestamp; give each run its own tag.")
            elif self.use_timestamp:
                self.timestamp = datetime.now().strftime("@%Y%m%d-%H%M%S")
        self.trial_name = f"{self.tag}{self.timestamp}"
        self.exp_dir = os.path.join(self.exp_root_dir, self.name)  # noqa: PTH118 keeps the user's spelling, as ./a
        self.trial_dir = os.path.join(self.exp_dir, self.trial_name)  # noqa: PTH118


def load_config(*yamls: str, cli_args: Sequence[str] = (), from_string: bool = False, **kwargs: Any) -> Any:
    """Load the config of a run.

    Args:
        *yamls: paths of YAML files; later files override earlier ones.
        cli_args: overrides `key.subkey=value` with a value in YAML; prompts are not parsed.
        from_string: whether `yamls` are texts instead of paths.
        **kwargs: top-level values that override all others.

    Returns:
        DictConfig of `ExperimentConfig` with all interpolations resolved.

    Raises:
        UserError: a file cannot be read, an override cannot be parsed, a key is unknown, or a value is impossible.
    """
    parts = [_parse_yaml(text, from_string) for text in yamls]
    parts += [_parse_override(argument) for argument in cli_args]
    try:
        cfg: Any = OmegaConf.merge(*parts, kwargs)
        if not OmegaConf.is_missing(cfg, "tag") and not cfg.get("tag"):
            cfg.tag = OmegaConf.select(cfg, "system.prompt_processor.prompt", default="") or ""
        OmegaConf.resolve(cfg)
    except InterpolationToMissingValueError as error:
        key = first_line(error).rsplit(" ", 1)[-1]
        raise UserError(f"{key} has no value; set it in the config or as {key}=VALUE.") from error
    except (OmegaConfBaseException, TypeError, ArithmeticError) as error:
        raise UserError(f"The config cannot be resolved: {first_line(error)}.") from error
    if cfg.get("tag"):
        cfg.tag = safe_tag(cfg.tag)
    return parse_structured(ExperimentConfig, cfg)


def safe_tag(text: str) -> str:
    """Make a folder name from a text of any length and alphabet.

    Letters and digits of all alphabets are kept, and spaces become `_`. If anything else has to be changed, a short
    hash is added, so that different texts have different folders.

    Args:
        text: such as a prompt.

    Returns:
        A name of at most 129 bytes.

    Example:
        >>> safe_tag("a red fox, sitting")
        'a_red_fox,_sitting'
        >>> safe_tag("a fox: red")
        'a_fox_red-1c937ae3'
    """
    wanted = unicodedata.normalize("NFC", str(text)).replace(" ", "_")
    cleaned = "".join(c if c.isalnum() or c in KEPT else "_" for c in wanted).lstrip(".")
    if cleaned != wanted:
        cleaned = re.sub("_+", "_", cleaned)
    short = cleaned.encode("utf-8", "ignore")[:LONGEST].decode("utf-8", "ignore")
    if short == wanted:
        return short
    return f"{short}-{hashlib.sha256(str(text).encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def _parse_yaml(source: str, from_string: bool) -> Any:
    name = "the given text" if from_string else f"config={source!r}"
    try:
        if from_string:
            loaded = OmegaConf.create(source)
        elif not Path(source).is_file():
            raise UserError(f"config={source!r} is not a file; accepted: the path of a YAML file.")
        else:
            loaded = OmegaConf.load(source)
    except (yaml.YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{name} cannot be read as YAML: {reason}.") from error
    if not isinstance(loaded, DictConfig):
        raise UserError(f"{name} is a list; accepted: a YAML file of keys and values.")
    return loaded


def _parse_override(argument: str) -> DictConfig:
    key, equals, value = argument.partition("=")
    if not equals or not key or key.startswith("-"):
        raise UserError(f"Argument {argument!r} is not understood; accepted: overrides such as trainer.max_steps=100.")
    try:
        if _is_text(key, value):
            override = OmegaConf.create()
            OmegaConf.update(override, key, value, force_add=True)
            return override
        return OmegaConf.from_dotlist([argument])
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"Override {argument!r} is not understood: {reason}.") from error


def _is_text(key: str, value: str) -> bool:
    """Whether a value is a prompt, in which a colon, a `#` or a number has no special meaning."""
    return (
        key.split(".")[-1] in TEXTS
        and value not in ("null", "???")
        and not (len(value) > 1 and value[0] == value[-1] == '"')
    )
