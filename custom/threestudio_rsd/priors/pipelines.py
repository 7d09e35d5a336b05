"""Reading the parts of a diffusers pipeline: the one place that deals with missing models and versions of diffusers."""

from typing import Any

import torch

from ..errors import UserError
from .files import first_line, resolve_model


def load_parts(model: str, revision: str | None, dtype: torch.dtype, **parts: Any) -> list[Any]:
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
            loaded.append(part.from_pretrained(location, subfolder=subfolder, revision=revision, torch_dtype=dtype))
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise UserError(
            f"pretrained_model_name_or_path={model!r} cannot be loaded ({first_line(error)}); accepted: bundled, a "
            "folder with a diffusers pipeline (model_index.json), or a hub id that can be reached, such as "
            "stable-diffusion-v1-5/stable-diffusion-v1-5."
        ) from error
    return loaded
