"""Reading the parts of a diffusers pipeline: the one place that deals with missing models and versions of diffusers."""

import json
from pathlib import Path
from typing import Any

import torch

from ..errors import UserError, first_line
from .files import resolve_model

# By the class that a pipeline's model_index.json names.
PIPELINES = {
    "StableDiffusionPipeline": "stable-diffusion",
    "StableDiffusionImg2ImgPipeline": "stable-diffusion",
    "IFPipeline": "deep-floyd",
    "IFImg2ImgPipeline": "deep-floyd",
}


def pipeline_type(model: str, revision: str | None = None, expected: str | None = None) -> str:
    """Which prior a pipeline is: `stable-diffusion` or `deep-floyd`.

    Args:
        model: `bundled`, `bundled-pixel`, a diffusers folder or a hub id.
        revision: of the hub id.
        expected: what the caller is about to read it as.

    Raises:
        UserError: no pipeline, one that cannot be reached, of another kind, or not of the kind that is expected.
    """
    location = Path(resolve_model(model))
    index = location / "model_index.json"
    if location.is_dir() and not index.is_file():
        raise UserError(
            f"pretrained_model_name_or_path={model!r} is a folder without model_index.json, so no diffusers pipeline; "
            "accepted: bundled, bundled-pixel, a folder that `save_pretrained` of a pipeline wrote, or a hub id."
        )
    try:
        if not location.is_dir():
            from huggingface_hub import hf_hub_download

            index = Path(hf_hub_download(model, "model_index.json", revision=revision))
        name = str(json.loads(index.read_text())["_class_name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise unreachable(model, error) from error
    kind = PIPELINES.get(name)
    if kind is None or expected not in (None, kind):
        accepted = [pipeline for pipeline, its_kind in PIPELINES.items() if expected in (None, its_kind)]
        wanted = f"prior_type={expected!r} takes" if expected else "accepted:"
        raise UserError(f"pretrained_model_name_or_path={model!r} is a {name}; {wanted} {', '.join(accepted)}.")
    return kind


def unreachable(model: str, error: Exception) -> UserError:
    """The sentence for a model that cannot be loaded."""
    return UserError(
        f"pretrained_model_name_or_path={model!r} cannot be loaded ({first_line(error)}); accepted: bundled, "
        "bundled-pixel, a folder with a diffusers pipeline (model_index.json), or a hub id that can be reached, such "
        "as stable-diffusion-v1-5/stable-diffusion-v1-5."
    )


def load_parts(model: str, revision: str | None, torch_dtype: torch.dtype, **parts: Any) -> list[Any]:
    """The scheduler, then one model for each keyword, whose name is the subfolder and whose value is the class.

    Raises:
        UserError: the folder is no pipeline, or the hub id cannot be reached.
    """
    from diffusers import DDPMScheduler

    location = resolve_model(model)
    try:
        # Its parameters are common to all of diffusers' schedulers of this family; only its noise levels are used.
        loaded: list[Any] = [DDPMScheduler.from_pretrained(location, subfolder="scheduler", revision=revision)]
        for subfolder, part in parts.items():
            loaded.append(
                part.from_pretrained(location, subfolder=subfolder, revision=revision, torch_dtype=torch_dtype)
            )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise unreachable(model, error) from error
    return loaded
