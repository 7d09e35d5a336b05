"""Which run a checkpoint belongs to: checkpoints hold the config, which is compared when they are used."""

import re
from typing import Any

from pytorch_lightning.callbacks import Callback

from ...errors import UserError
from ..utils.config import config_to_primitive
from ..utils.messages import warn

KEY = "config"  # of the checkpoint
SECTIONS = ("system_type", "system", "data_type", "data", "seed")
# Keys that do not change the particles: what is measured and written, and how much memory it takes
FREE = re.compile(
    r"system\.(metrics_every|diversity_features|lpips|nonfinite|loggers|cleanup_after_|weights|exporter)"
    r"|data\.(eval_|n_val_views|n_test_views|num_workers)"
    r"|.*\.(chunk_size|eval_chunk_size|render_chunk_size|isosurface_\w+|spawn|use_cache)$"
)
# Keys that change what an uninterrupted run would have done, and may be wanted: a longer run, another machine
WARNED = re.compile(r".*\.(total_steps|n_steps|half_precision_weights)$|data\.(batch_size|width|height)")
# Keys that the particles themselves depend on, which weights for another run must share
OF_WEIGHTS = re.compile(
    r"system_type$|.*n_particles$|.*\.(prior_type|pretrained_model_name_or_path|revision|guidance_type)$"
    r"|system\.solver\.name$|data\.(operator|image_path)"
)


class RunIdentity(Callback):
    """Lightning callback that saves the config in each checkpoint.

    Args:
        cfg: config of the run.
    """

    def __init__(self, cfg: Any) -> None:
        self.config = described(cfg)

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict) -> None:
        checkpoint[KEY] = self.config


def described(cfg: Any) -> dict[str, Any]:
    """What a config says about the particles: plain values by dotted key."""
    values: dict[str, Any] = {}
    for section in SECTIONS:
        _flatten(config_to_primitive(cfg[section]), section, values)
    return values


def check_same_run(checkpoint: dict | None, cfg: Any) -> None:
    """Check that a checkpoint was made with the same config, and warn of differences that may be wanted.

    Args:
        checkpoint: content of the file of `cfg.resume`; checkpoints of threestudio, without config, are not compared.
        cfg: config of this run.

    Raises:
        UserError: a value differs on which the particles depend; names both values.
    """
    saved = (checkpoint or {}).get(KEY)
    if not isinstance(saved, dict):
        return
    for key, before, now in _differences(saved, described(cfg)):
        if FREE.match(key):
            continue
        if WARNED.match(key):
            warn(f"resume={cfg.resume!r} was made with {key}={_shown(before)}; this run has {key}={_shown(now)}.")
            continue
        raise UserError(
            f"resume={cfg.resume!r} is of another run: it was made with {key}={_shown(before)}, and this config has "
            f"{key}={_shown(now)}; use the config beside it, configs/parsed.yaml."
        )


def check_weights(checkpoint: dict, path: str, cfg: Any) -> None:
    """Check that the weights of a checkpoint fit: same kind of system, particles, prior and measurement.

    Args:
        checkpoint: content of the file of system.weights.
        path: the file, for the error.
        cfg: config of this run.

    Raises:
        UserError: a value differs; names both values.
    """
    saved = checkpoint.get(KEY)
    if not isinstance(saved, dict):
        return
    for key, before, now in _differences(saved, described(cfg)):
        if OF_WEIGHTS.match(key):
            raise UserError(
                f"system.weights={path!r} does not fit: it was made with {key}={_shown(before)}, and this config has "
                f"{key}={_shown(now)}."
            )


def _differences(saved: dict[str, Any], now: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    return [
        (key, saved.get(key), now.get(key))
        for key in sorted(saved.keys() | now.keys(), key=lambda key: (not OF_WEIGHTS.match(key), key))
        if saved.get(key) != now.get(key)
    ]


def _shown(value: Any) -> str:
    return "its default" if value is None else repr(value)


def _flatten(value: Any, key: str, values: dict[str, Any]) -> None:
    if isinstance(value, dict):
        for name, each in value.items():
            _flatten(each, f"{key}.{name}", values)
    else:
        values[key] = list(value) if isinstance(value, tuple) else value
