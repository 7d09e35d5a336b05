"""Config keys that name a prior, shared by the guidance modules and the sampling systems."""

from dataclasses import dataclass

import torch

from ..host import get_device, get_rank
from ..priors import Prior, load_prior


@dataclass
class PriorConfig:
    """Prior and guidance scale; keys and defaults are threestudio's where it has them."""

    prior_type: str = "stable-diffusion"  # stable-diffusion or deep-floyd
    pretrained_model_name_or_path: str = "bundled"  # bundled, bundled-pixel, a diffusers folder or a hub id
    revision: str | None = None  # revision of the hub id
    variant: str | None = None  # variant of the weight files, such as fp16; null: none, or the only one there is
    half_precision_weights: bool = True  # float16 on a GPU; a CPU always computes in float32
    channels_last: bool = False  # memory format of the networks; faster, and equal to rounding (ours)
    guidance_scale: float = 7.5  # w of (24); C.1


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
        torch_dtype=torch.float16 if half else torch.float32,
        device=device,
        variant=cfg.variant,
    )
    return prior.to(memory_format=torch.channels_last) if cfg.channels_last else prior


def configured_seed(seed: int | None) -> int:
    """Seed of noise and timesteps: `seed`, or the run's seed if it is None, the same on every rank."""
    # threestudio adds the rank to the seed; particles must not depend on it.
    return (torch.initial_seed() - get_rank()) % 2**32 if seed is None else seed
