"""Diffusers pipelines: their names and files, and the loading of their parts."""

import json
from pathlib import Path
from typing import Any

import torch

from ..errors import UserError, first_line
from ..files import data_path

BUNDLED = {"bundled": "load/toyworld/text-to-image", "bundled-pixel": "load/toyworld/pixel"}  # folders by name

# Type of prior by the class that a pipeline's model_index.json names.
PIPELINES = {
    "StableDiffusionPipeline": "stable-diffusion",
    "StableDiffusionImg2ImgPipeline": "stable-diffusion",
    "IFPipeline": "deep-floyd",
    "IFImg2ImgPipeline": "deep-floyd",
}


def is_bundled(model: str) -> bool:
    """Whether a model's name is that of a prior shipped with this package."""
    return model in BUNDLED


def resolve_model(model: str) -> str:
    """Folder or hub id of a model: the shipped folder for `bundled` and `bundled-pixel`, else the name itself."""
    return str(data_path(BUNDLED[model])) if is_bundled(model) else model


def pipeline_type(model: str, revision: str | None = None, expected: str | None = None) -> str:
    """Type of prior of a pipeline: `stable-diffusion` or `deep-floyd`.

    Args:
        model: `bundled`, `bundled-pixel`, a diffusers folder or a hub id.
        revision: revision of the hub id.
        expected: type that the caller needs; None: any.

    Raises:
        UserError: the model is no pipeline, cannot be reached, or is of an unknown type or of another than `expected`.
    """
    location = Path(resolve_model(model))
    index = location / "model_index.json"
    if location.is_dir() and not index.is_file():
        raise UserError(
            f"pretrained_model_name_or_path={model!r} is a folder without model_index.json, and so no diffusers "
            "pipeline; accepted: bundled, bundled-pixel, a folder that `save_pretrained` wrote, or a hub id."
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
    """Error for a model that cannot be loaded."""
    return UserError(
        f"pretrained_model_name_or_path={model!r} cannot be loaded ({first_line(error)}); accepted: bundled, "
        "bundled-pixel, a folder with a diffusers pipeline (model_index.json), or a hub id that can be reached, such "
        "as stable-diffusion-v1-5/stable-diffusion-v1-5."
    )


def load_parts(model: str, revision: str | None, torch_dtype: torch.dtype, **parts: Any) -> list[Any]:
    """Load the scheduler and the given models of a pipeline.

    Args:
        model: `bundled`, `bundled-pixel`, a diffusers folder or a hub id.
        revision: revision of the hub id.
        torch_dtype: precision of the weights.
        **parts: class of each model, by the name of its subfolder.

    Returns:
        The scheduler, then the models in the order of `parts`.

    Raises:
        UserError: the folder is no pipeline, or the hub id cannot be reached.
    """
    from diffusers import DDPMScheduler

    location = resolve_model(model)
    try:
        # Any scheduler of a DDPM pipeline can be read as a DDPMScheduler; only its noise levels are used.
        loaded: list[Any] = [DDPMScheduler.from_pretrained(location, subfolder="scheduler", revision=revision)]
        for subfolder, part in parts.items():
            loaded.append(
                part.from_pretrained(location, subfolder=subfolder, revision=revision, torch_dtype=torch_dtype)
            )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise unreachable(model, error) from error
    return loaded
