"""Noisy measurements of an operator, and the tensors that fix an operator."""

from typing import Any

import torch
from torch import Tensor

from ...errors import in_range
from ...particles.randomness import particle_noise
from .config import OperatorConfig


def measure(physics: Any, images: Tensor, config: OperatorConfig, first: int = 0) -> Tensor:
    """Measurements y = A(x) + sigma * noise (eq. 9), (M, ...), with one draw of the noise for each image.

    The noise of an image depends only on the seed and the image's index. Where a mask hides pixels, y is 0.

    Args:
        physics: operator from `build_operator`, or any other operator of deepinv.
        images: x, (M, 3, H, W) in [0, 1].
        config: settings of the operator, of which sigma and seed are read.
        first: index of the first image, when the images of a run come in batches.

    Raises:
        UserError: sigma < 0.
    """
    in_range("operator.sigma", config.sigma, 0.0)
    from deepinv.physics import Inpainting

    with torch.no_grad():
        clean: Tensor = physics.A(images)
        shape = tuple(clean.shape[1:])
        noise = particle_noise(config.seed, "measurement", 0, len(images), shape, clean.device, first).to(clean.dtype)
        if isinstance(physics, Inpainting):
            noise = noise * physics.mask
        return clean + config.sigma * noise


def operator_state(physics: Any) -> dict[str, Tensor]:
    """Tensors that fix an operator (mask, kernel ...), to be stored as safetensors beside the results.

    Complex tensors are stored as real ones with a last axis of size 2.

    Args:
        physics: operator from `build_operator`.
    """
    return {
        name: (torch.view_as_real(value.resolve_conj()) if value.is_complex() else value)
        .detach()
        .cpu()
        .contiguous()
        .clone()
        for name, value in physics.state_dict().items()
        if value.numel()
    }
