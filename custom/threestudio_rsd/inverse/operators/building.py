"""The registry of forward operators, and `build_operator`."""

from collections.abc import Callable
from typing import Any

import torch

from ...errors import UserError, in_range, one_of, positive, require
from ...particles.randomness import particle_generator
from . import blurs, masks
from .config import ImageShape, OperatorConfig
from .super_resolution import super_resolution


def build_operator(config: OperatorConfig, image_shape: ImageShape, device: torch.device | str = "cpu") -> Any:
    """The `deepinv.physics.Physics` that a config describes.

    The operator is fixed once built, and the same for the same seed on every device.

    Args:
        config: settings of the operator.
        image_shape: (3, H, W) of one image.
        device: device of the operator's tensors, and of the images that are passed to it.

    Returns:
        Operator whose `A` maps images (B, 3, H, W) in [0, 1] to measurements (B, ...), differentiable. It adds no
        noise; `measure` does.

    Raises:
        UserError: an unknown name, an impossible value, or deepinv is not installed.

    Example:
        >>> physics = build_operator(OperatorConfig(name="super-resolution", factor=2), (3, 16, 16))
        >>> physics.A(torch.rand(4, 3, 16, 16)).shape
        torch.Size([4, 3, 8, 8])
    """
    one_of("operator.name", config.name, tuple(OPERATORS))
    in_range("operator.sigma", config.sigma, 0.0)
    in_range("operator.seed", config.seed, 0)
    if len(image_shape) != 3 or image_shape[0] != 3 or min(image_shape) < 1:
        raise UserError(f"image_shape={tuple(image_shape)} is impossible; accepted: (3, H, W).")
    require("deepinv", "inverse")
    generator = particle_generator(config.seed, "operator")
    return OPERATORS[config.name](config, (3, image_shape[1], image_shape[2]), generator).to(device)


# The builders below import their operator's file when they are called: those files need deepinv, which is optional.


def _nonlinear_blur(config: OperatorConfig, shape: ImageShape, generator: torch.Generator) -> Any:
    from .nonlinear_blur import NonlinearBlur

    positive("operator.exposure", config.exposure)
    return NonlinearBlur(blurs.motion_kernel(config, shape, generator), shape, config.exposure)


def _phase_retrieval(config: OperatorConfig, shape: ImageShape, generator: torch.Generator) -> Any:
    from .phase_retrieval import FourierAmplitude

    in_range("operator.oversampling", config.oversampling, 1.0)
    padded = (3, round(config.oversampling * shape[1]), round(config.oversampling * shape[2]))
    return FourierAmplitude(shape, padded)


def _hdr(config: OperatorConfig, shape: ImageShape, generator: torch.Generator) -> Any:
    from .high_dynamic_range import HighDynamicRange

    positive("operator.exposure", config.exposure)
    return HighDynamicRange(config.exposure)


def _decolorize(config: OperatorConfig, shape: ImageShape, generator: torch.Generator) -> Any:
    from .decolorize import Decolorize

    return Decolorize(channels=3)


def _jpeg(config: OperatorConfig, shape: ImageShape, generator: torch.Generator) -> Any:
    from .jpeg import JPEG

    in_range("operator.quality", config.quality, 1, 100)
    return JPEG(config.quality)


OPERATORS: dict[str, Callable[[OperatorConfig, ImageShape, torch.Generator], Any]] = {
    "half-box": masks.half_box,
    "random": masks.random_pixels,
    "mask": masks.mask_file,
    "free-form": masks.free_form,
    "super-resolution": super_resolution,
    "gaussian-blur": blurs.gaussian_blur,
    "motion-blur": blurs.motion_blur,
    "nonlinear-blur": _nonlinear_blur,
    "phase-retrieval": _phase_retrieval,
    "hdr": _hdr,
    "decolorize": _decolorize,
    "jpeg": _jpeg,
}
