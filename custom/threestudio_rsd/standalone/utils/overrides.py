"""Overrides `key.subkey=value` of the command line, and texts and paths in configs."""

import json
import os
import re
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ...errors import UserError, shorten, valid_text
from .config import config_to_primitive, literal

# Keys that hold text, in any section. Their overrides are not parsed as YAML, so that 0012 is not read as 10.
TEXTS = frozenset(
    {
        "albedo_activation", "background_type", "base_model", "camera_condition", "color_activation", "context_type",
        "data_type", "density_activation", "description", "estimator", "exp_dir", "exp_root_dir", "exporter_type",
        "feature_decoder", "features", "fmt", "force_form", "force_scale", "geometry_convert_from", "geometry_type",
        "guidance_type", "image_path", "implementation", "init", "init_path", "isosurface_method", "kernel_input",
        "loss_reduction", "mask_path", "material_type", "name", "negative_prompt", "noise", "nonfinite", "normal_type",
        "particle_type", "pretrained_model_name_or_path", "pretrained_model_name_or_path_prompt_debiasing",
        "prior_type", "prompt", "prompt_back", "prompt_front", "prompt_overhead", "prompt_processor_type",
        "prompt_side", "reference", "renderer_type", "resume", "revision", "save_name", "side", "space", "svgd_base",
        "system_type", "tag", "texture_format", "timestamp", "timestep_schedule", "trial_dir", "trial_name", "variant",
        "view_noise", "vsd_network", "weighting_strategy", "weights", "x_step",
    }
)  # fmt: skip
PATHS = frozenset(
    {
        "base_model", "exp_root_dir", "feature_decoder", "features", "geometry_convert_from", "image_path", "init_path",
        "mask_path", "pretrained_model_name_or_path", "pretrained_model_name_or_path_prompt_debiasing", "resume",
        "weights",
    }
)  # fmt: skip
# Numbers that YAML 1.1 reads as octal, such as 010 for 8, or as base 60, such as 1:30 for 90
MISREAD = re.compile(r"[+-]?(0[0-7_]+|[1-9][0-9_]*(:[0-5]?[0-9])+)")


def parse_override(argument: str) -> DictConfig:
    """Config with the value of one override, which is not interpolated: `${...}` is text.

    Args:
        argument: `key.subkey=value`. A value is YAML, or text where the key is one of TEXTS; a text that is a complete
            JSON string loses its quotes.

    Raises:
        UserError: there is no key, or the value is not valid YAML.

    Example:
        >>> parse_override("tag=0012"), parse_override("trainer.max_steps=100")
        ({'tag': '0012'}, {'trainer': {'max_steps': 100}})
    """
    key, equals, value = argument.partition("=")
    valid_text("Override", argument)
    if not equals or not re.fullmatch(r"[^\W\d][\w-]*(\.[\w-]+)*", key):
        raise UserError(
            f"Argument {shorten(argument)!r} is not understood; accepted: overrides such as trainer.max_steps=100."
        )
    try:
        override = OmegaConf.create()
        OmegaConf.update(override, key, literal(_parse_value(key, value)), force_add=True)
    except (yaml.YAMLError, OmegaConfBaseException, ValueError, RecursionError) as error:
        if isinstance(error, UserError):
            raise
        reason = " ".join(str(error).split())
        raise UserError(f"Override {shorten(argument)!r} is not understood: {shorten(reason)}.") from error
    return override


def expand_paths(config: Any, key: str = "") -> Any:
    """Replace `~` at the start of every path by the home folder.

    Args:
        config: plain dicts, lists and values.
        key: key of `config` in its dict.

    Returns:
        The config with new paths.
    """
    if isinstance(config, dict):
        return {name: expand_paths(value, str(name)) for name, value in config.items()}
    if isinstance(config, str) and key in PATHS:
        return os.path.expanduser(config)  # noqa: PTH111 Path.expanduser() raises for an unknown user
    return config


def check_texts(config: Any, key: str = "") -> None:
    """Check that every text of a config can be written to files.

    Args:
        config: plain dicts, lists and values.
        key: dotted key of `config`.

    Raises:
        UserError: a text has a NUL or half a surrogate pair, as names that are not UTF-8 have in Python.
    """
    if isinstance(config, dict):
        for name, value in config.items():
            check_texts(name, f"a key in {key or 'the config'}")
            check_texts(value, f"{key}.{name}" if key else str(name))
    elif isinstance(config, list):
        for value in config:
            check_texts(value, key)
    elif isinstance(config, str):
        valid_text(key, config)


def _parse_value(key: str, value: str) -> Any:
    if key.rpartition(".")[2] in TEXTS and value not in ("null", "???"):
        return _unquoted(value)
    if MISREAD.fullmatch(value) and value.strip("+-0_"):
        raise UserError(
            f"{key}={shorten(value)} is not a plain number; accepted: decimal digits without a leading 0, or a text in "
            "quotes."
        )
    return config_to_primitive(OmegaConf.from_dotlist([f"value={value}"]), resolve=False)["value"]


def _unquoted(value: str) -> str:
    """Content of a complete JSON string; any other text as it is."""
    if len(value) < 2 or not value[0] == value[-1] == '"':
        return value
    try:
        return str(json.loads(value))
    except ValueError:
        return value
