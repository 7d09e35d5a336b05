"""Config keys that name a prior, shared by the guidance modules and the sampling systems."""

from dataclasses import dataclass

import torch

from ..errors import UserError, in_range
from ..host import get_device, get_rank
from ..priors import Prior, half_dtype, load_prior


@dataclass
class PriorConfig:
    """Prior and guidance scale; keys and defaults are threestudio's where it has them."""

    prior_type: str = "stable-diffusion"  # or deep-floyd, stable-diffusion-3, flux ...: see docs/guides/priors.md
    # bundled, bundled-pixel, bundled-flow, a diffusers folder, a hub id or a .safetensors file
    pretrained_model_name_or_path: str = "bundled"
    revision: str | None = None  # revision of the hub id
    variant: str | None = None  # variant of the weight files, such as fp16; null: none, or the only one there is
    # For a .safetensors file with the noise network alone: pipeline with the other parts, a folder or hub id (ours)
    base_model: str | None = None
    image_size: int | None = None  # side of the images, pixels; null: that of the model (ours)
    half_precision_weights: bool = True  # on a GPU, float16 or, with transformers, bfloat16; a CPU computes in float32
    channels_last: bool = False  # memory format of the networks; faster, and equal to rounding (ours)
    guidance_scale: float = 7.5  # w of (24); C.1
    embedded_guidance: float | None = None  # guidance scale that FLUX.1 dev takes as an input; null: 3.5 (ours)


def configured_prior(cfg: PriorConfig) -> Prior:
    """Load the prior of a config on the host's device.

    Args:
        cfg: config with the keys of `PriorConfig`.

    Raises:
        UserError: the prior cannot be loaded.
    """
    device = get_device()
    half = cfg.half_precision_weights and device.type == "cuda"
    prior = load_prior(
        cfg.pretrained_model_name_or_path,
        prior_type=cfg.prior_type,
        revision=cfg.revision,
        torch_dtype=half_dtype(cfg.prior_type) if half else torch.float32,
        device=device,
        variant=cfg.variant,
        image_size=cfg.image_size,
        base_model=cfg.base_model,
    )
    if cfg.embedded_guidance is not None:
        _set_embedded_guidance(prior, cfg.embedded_guidance)
    return prior.to(memory_format=torch.channels_last) if cfg.channels_last else prior


def _set_embedded_guidance(prior: Prior, value: float) -> None:
    in_range("embedded_guidance", value, 0.0)
    if prior.embedded_guidance is None:
        raise UserError(f"embedded_guidance={value} has no effect with {prior.fingerprint}; accepted: null.")
    prior.embedded_guidance = value


def configured_seed(seed: int | None) -> int:
    """Seed of noise and timesteps: `seed`, or the run's seed if it is None, the same on every rank."""
    # threestudio adds the rank to the seed; particles must not depend on it.
    return (torch.initial_seed() - get_rank()) % 2**32 if seed is None else seed
