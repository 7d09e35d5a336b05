"""A prior by its name."""

import json
from pathlib import Path
from typing import Any

import torch

from ..errors import UserError, check_choice
from .base import Prior
from .deep_floyd import DeepFloydPrior
from .files import resolve_model
from .stable_diffusion import StableDiffusionPrior

PRIOR_TYPES: dict[str, Any] = {"stable-diffusion": StableDiffusionPrior, "deep-floyd": DeepFloydPrior}


def load_prior(
    model: str = "bundled",
    prior_type: str | None = None,
    revision: str | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Prior:
    """Load a prior.

    Args:
        model: `bundled`, a diffusers folder or a hub id.
        prior_type: `stable-diffusion` or `deep-floyd`; None: by the folder's model_index.json, else by the name.
        revision: of the hub id.
        dtype: precision of the weights.
        device: where they lie.

    Raises:
        UserError: an unknown prior type, a folder that is no pipeline, or a hub id that cannot be reached.
    """
    location = Path(resolve_model(model))
    if location.is_dir() and not (location / "model_index.json").is_file():
        raise UserError(
            f"pretrained_model_name_or_path={model!r} is a folder without model_index.json, so no diffusers pipeline; "
            "accepted: bundled, a folder that `save_pretrained` of a pipeline wrote, or a hub id."
        )
    prior_type = prior_type or _guess(location, model)
    check_choice("prior_type", prior_type, tuple(PRIOR_TYPES))
    return PRIOR_TYPES[prior_type].from_pretrained(model, revision, dtype, device)


def _guess(location: Path, model: str) -> str:
    if location.is_dir():
        name = json.loads((location / "model_index.json").read_text()).get("_class_name", "")
        return "deep-floyd" if name.startswith("IF") else "stable-diffusion"
    return "deep-floyd" if "deepfloyd" in model.lower() else "stable-diffusion"
