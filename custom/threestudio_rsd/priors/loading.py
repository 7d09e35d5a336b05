"""Loading of a prior: by name, from a pipeline object, or from a single file."""

from pathlib import Path
from typing import Any

import torch

from ..errors import UserError, one_of
from .base import Prior
from .deep_floyd import DeepFloydPrior
from .families import (  # noqa: F401 (importing a family registers it)
    flux,
    flux2_klein,
    pixart,
    qwen_image,
    sana,
    stable_diffusion_3,
    stable_diffusion_xl,
    z_image,
)
from .families.registry import FAMILIES
from .families.single_file import is_single_file, load_single_file, single_file_type
from .pipelines import kind_of, pipeline_type
from .stable_diffusion import StableDiffusionPrior

PRIOR_TYPES: dict[str, Any] = {"stable-diffusion": StableDiffusionPrior, "deep-floyd": DeepFloydPrior}


def prior_types() -> tuple[str, ...]:
    """Names of all types of priors."""
    return (*PRIOR_TYPES, *FAMILIES)


def half_dtype(prior_type: str) -> torch.dtype:
    """Half precision of a type of prior on a GPU: float16, or bfloat16 where float16 would overflow."""
    return getattr(FAMILIES.get(prior_type), "half_dtype", torch.float16)


def load_prior(
    model: Any = "bundled",
    prior_type: str | None = None,
    revision: str | None = None,
    torch_dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
    variant: str | None = None,
    image_size: int | None = None,
    base_model: str | None = None,
) -> Prior:
    """Load a prior.

    Args:
        model: `bundled` (latent), `bundled-pixel`, `bundled-flow` (latent, flow matching), a diffusers folder, a hub
            id, a .safetensors file, or a pipeline object of diffusers. A pipeline object is used as it is, with its
            scheduler, LoRA weights, added tokens, quantization and offloading; its networks are put into eval mode and
            frozen.
        prior_type: one of `prior_types`; None: the type of the pipeline.
        revision: revision of the hub id.
        torch_dtype: precision of the weights; a pipeline object keeps its own.
        device: device of the weights; None: the CPU, or where a pipeline object has them.
        variant: variant of the weight files to prefer, such as `fp16`; None: files without a variant, or else the only
            variant.
        image_size: side of the images in pixels; None: that of the model. Stable Diffusion and DeepFloyd IF accept None
            only.
        base_model: for a .safetensors file that holds the noise network alone: folder or hub id of the pipeline from
            which the other parts are taken.

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
        one_of("prior_type", prior_type, prior_types())
    model = str(model) if isinstance(model, Path) else model
    if isinstance(model, str) and is_single_file(model):
        kind = single_file_type(model, prior_type, base_model)
        pipe = load_single_file(model, kind, torch_dtype, base_model, FAMILIES)
        return _from_pipe(pipe, kind, image_size).to(device or "cpu")
    if base_model is not None:
        raise UserError(f"base_model={base_model!r} has no effect with {_shown(model)}; accepted: null.")
    if not isinstance(model, str):
        prior = _from_pipe(model, kind_of(model, prior_type), image_size)
        return prior if device is None else prior.to(device)
    kind = pipeline_type(model, revision, expected=prior_type)
    place = device or "cpu"
    if kind in FAMILIES:
        found: Prior = FAMILIES[kind].from_pretrained(model, revision, torch_dtype, place, variant, image_size)
        return found
    _check_size(kind, image_size)
    loaded: Prior = PRIOR_TYPES[kind].from_pretrained(model, revision, torch_dtype, place, variant)
    return loaded


def _from_pipe(pipe: Any, kind: str, image_size: int | None) -> Prior:
    if kind in FAMILIES:
        family_prior: Prior = FAMILIES[kind].from_pipe(pipe, image_size)
        return family_prior
    _check_size(kind, image_size)
    prior: Prior = PRIOR_TYPES[kind].from_pipe(pipe)
    return prior


def _check_size(kind: str, image_size: int | None) -> None:
    if image_size is not None:
        raise UserError(f"image_size={image_size} has no effect with prior_type={kind!r}; accepted: null.")


def _shown(model: Any) -> str:
    return f"{model!r}, which is no single file" if isinstance(model, str) else "a pipeline object"
