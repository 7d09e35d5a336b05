"""Loading of a prior by name."""

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
    variant: str | None = None,
) -> Prior:
    """Load a prior by name, folder or hub id.

    Args:
        model: `bundled` (latent), `bundled-pixel`, a diffusers folder or a hub id.
        prior_type: `stable-diffusion` or `deep-floyd`; None: the type of the pipeline.
        revision: revision of the hub id.
        torch_dtype: precision of the weights.
        device: device of the weights.
        variant: variant of the weight files to prefer, such as `fp16`; None: files without a variant, or else the only
            variant.

    Raises:
        UserError: unknown prior type, a pipeline of another type, a folder without a pipeline, a hub id that cannot
            be reached, or a part that is of another class, does not fit its config, or is not finite.

    Example:
        >>> prior = load_prior("bundled")
        >>> prior.is_latent, prior.latent_shape, prior.image_size
        (True, (4, 16, 16), 64)
        >>> x_t = torch.randn(2, *prior.latent_shape)
        >>> prior.predict_noise(x_t, 500, prior.embed("a mushroom")).shape
        torch.Size([2, 4, 16, 16])
        >>> prior.decode(x_t).shape
        torch.Size([2, 3, 64, 64])
    """
    if prior_type is not None:
        one_of("prior_type", prior_type, tuple(PRIOR_TYPES))
    prior_type = pipeline_type(model, revision, expected=prior_type)
    prior: Prior = PRIOR_TYPES[prior_type].from_pretrained(model, revision, torch_dtype, device, variant)
    return prior
