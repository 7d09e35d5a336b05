"""A prior by its name."""

from typing import Any

import torch

from ..errors import one_of
from .base import Prior
from .deep_floyd import DeepFloydPrior
from .pipelines import pipeline_type
from .stable_diffusion import StableDiffusionPrior

PRIOR_TYPES: dict[str, Any] = {"stable-diffusion": StableDiffusionPrior, "deep-floyd": DeepFloydPrior}


def load_prior(
    model: str = "bundled",
    prior_type: str | None = None,
    revision: str | None = None,
    torch_dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Prior:
    """Load a prior.

    Args:
        model: `bundled` (latent), `bundled-pixel`, a diffusers folder or a hub id.
        prior_type: `stable-diffusion` or `deep-floyd`; None: whichever the pipeline is.
        revision: of the hub id.
        torch_dtype: precision of the weights.
        device: where they lie.

    Raises:
        UserError: an unknown prior type, a pipeline of another type, a folder that is no pipeline, or a hub id that
            cannot be reached.
    """
    if prior_type is not None:
        one_of("prior_type", prior_type, tuple(PRIOR_TYPES))
    prior_type = pipeline_type(model, revision, expected=prior_type)
    return PRIOR_TYPES[prior_type].from_pretrained(model, revision, torch_dtype, device)
