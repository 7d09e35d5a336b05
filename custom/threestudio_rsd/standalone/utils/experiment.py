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

from ...errors import UserError, first_line, shorten
from .config import literal, parse_structured
from .messages import warn
from .overrides import check_texts, expand_paths, parse_override
from .resolvers import only_own_resolvers, register_resolvers

register_resolvers()

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
        cli_args: overrides `key.subkey=value`, see `parse_override`. Only files interpolate.
        from_string: whether `yamls` are texts instead of paths.
        **kwargs: top-level values that override all others.

    Returns:
        DictConfig of `ExperimentConfig` with all interpolations resolved.

    Raises:
        UserError: a file cannot be read, an override cannot be parsed, a key is unknown, or a value is impossible.
    """
    parts = [_parse_yaml(text, from_string) for text in yamls]
    parts += [parse_override(argument) for argument in cli_args]
    try:
        cfg: Any = OmegaConf.merge(*parts, kwargs)
        with only_own_resolvers():
            if not OmegaConf.is_missing(cfg, "tag") and not cfg.get("tag"):
                cfg.tag = literal(OmegaConf.select(cfg, "system.prompt_processor.prompt", default="") or "")
            values: Any = OmegaConf.to_container(cfg, resolve=True)
    except InterpolationToMissingValueError as error:
        key = first_line(error).rsplit(" ", 1)[-1]
        raise UserError(f"{key} has no value; set it in the config or as {key}=VALUE.") from error
    except (OmegaConfBaseException, TypeError, ValueError, ArithmeticError, RecursionError) as error:
        raise UserError(f"The config cannot be resolved: {shorten(first_line(error))}.") from error
    check_texts(values)
    values = expand_paths(values)
    if values.get("tag") not in (None, "", "???"):
        values["tag"] = safe_tag(values["tag"])
    return parse_structured(ExperimentConfig, OmegaConf.create(literal(values)))


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
    except (yaml.YAMLError, OmegaConfBaseException, ValueError, RecursionError, OSError) as error:
        if isinstance(error, UserError):
            raise
        reason = " ".join(str(error).split())
        raise UserError(f"{name} cannot be read as YAML: {reason}.") from error
    if not isinstance(loaded, DictConfig):
        raise UserError(f"{name} is a list; accepted: a YAML file of keys and values.")
    return loaded
