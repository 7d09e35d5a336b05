"""The config of a run: YAML files, overrides of the command line, and where its output goes."""

import hashlib
import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException

from ...errors import UserError
from .config import parse_structured
from .messages import warn
from .resolvers import register_resolvers

register_resolvers()

TEXTS = ("prompt", "negative_prompt", "prompt_front", "prompt_side", "prompt_back", "prompt_overhead")
LONGEST = 120  # bytes; with the timestamp well below what any file system takes
KEPT = set("_-.,+=@")


@dataclass
class ExperimentConfig:
    """Everything about a run. The trial folder is `exp_root_dir/name/tag@timestamp`; it is not made here."""

    name: str = "default"
    description: str = ""
    tag: str = ""  # the prompt, if there is none
    seed: int = 0
    use_timestamp: bool = True
    timestamp: str | None = None  # now, if it is not given
    exp_root_dir: str = "outputs"

    # follow from the others
    exp_dir: str = "outputs/default"
    trial_name: str = "exp"
    trial_dir: str = "outputs/default/exp"
    n_gpus: int = 1

    resume: str | None = None  # checkpoint to go on from, or to evaluate

    data_type: str = ""
    data: dict = field(default_factory=dict)

    system_type: str = ""
    system: dict = field(default_factory=dict)

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
        self.exp_dir = os.path.join(self.exp_root_dir, self.name)
        self.trial_dir = os.path.join(self.exp_dir, self.trial_name)


def load_config(*yamls: str, cli_args: Sequence[str] = (), from_string: bool = False, **kwargs) -> Any:
    """Config of a run.

    Args:
        yamls: files, or their content with `from_string`; later ones win.
        cli_args: `key.subkey=value`, the value in YAML; prompts are taken as they are.
        kwargs: further top-level values, which win over all others.

    Returns:
        DictConfig of ExperimentConfig, all interpolations resolved.

    Raises:
        UserError: a file cannot be read, an override is not understood, a key is unknown, a value is impossible.
    """
    parts = [_parse_yaml(text, from_string) for text in yamls]
    parts += [_parse_override(argument) for argument in cli_args]
    try:
        cfg: Any = OmegaConf.merge(*parts, kwargs)
        if not OmegaConf.is_missing(cfg, "tag") and not cfg.get("tag"):
            cfg.tag = OmegaConf.select(cfg, "system.prompt_processor.prompt", default="") or ""
        OmegaConf.resolve(cfg)
    except InterpolationToMissingValueError as error:
        key = _first_line(error).rsplit(" ", 1)[-1]
        raise UserError(f"{key} has no value; set it in the config or as {key}=VALUE.") from error
    except (OmegaConfBaseException, TypeError, ArithmeticError) as error:
        raise UserError(f"The config cannot be resolved: {_first_line(error)}.") from error
    if cfg.get("tag"):
        cfg.tag = safe_tag(cfg.tag)
    return parse_structured(ExperimentConfig, cfg)


def safe_tag(text: str) -> str:
    """A folder name for a text of any length and alphabet.

    Letters and digits of all alphabets stay, spaces become `_`. A text that loses more than that gets a short hash,
    so that different texts have different folders.
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
        elif not os.path.isfile(source):
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
    """Whether YAML must not look at the value: a colon, a `#` or a number is part of a prompt."""
    return (
        key.split(".")[-1] in TEXTS
        and value not in ("null", "???")
        and not (len(value) > 1 and value[0] == value[-1] == '"')
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")
