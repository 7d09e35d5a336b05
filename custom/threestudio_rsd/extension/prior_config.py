"""The keys that name a prior, common to guidance modules and to the sampling system."""

from dataclasses import dataclass

import torch

from ..host import get_device
from ..priors import Prior, load_prior


@dataclass
class PriorConfig:
    """Keys and defaults are threestudio's where it has them."""

    prior_type: str = "stable-diffusion"  # or deep-floyd
    pretrained_model_name_or_path: str = "bundled"  # bundled, bundled-pixel, a diffusers folder or a hub id
    revision: str | None = None  # of the hub id
    half_precision_weights: bool = True  # float16 on a GPU; a CPU runs float32 in any case
    guidance_scale: float = 7.5  # w of (24); C.1


def configured_prior(cfg: PriorConfig) -> Prior:
    """Load the prior that a config names, on the host's device. Raises UserError where that fails."""
    device = get_device()
    half = cfg.half_precision_weights and device.type == "cuda"
    return load_prior(
        cfg.pretrained_model_name_or_path,
        prior_type=cfg.prior_type,
        revision=cfg.revision,
        torch_dtype=torch.float16 if half else torch.float32,
        device=device,
    )


def configured_seed(seed: int | None) -> int:
    """Seed of noise and timesteps: the config's, else that of the run."""
    return torch.initial_seed() % 2**32 if seed is None else seed
