"""Forward operators A of y = A(x) + noise (eq. 9): what deepinv has, and subclasses of its `Physics`."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...errors import UserError, one_of, require
from ...images.reading import open_image, to_tensor
from ...particles.randomness import particle_generator, particle_noise

SIDES = ("left", "right", "top", "bottom")
CUBIC = -0.5  # parameter of the bicubic kernel, as in Pillow, MATLAB and torch's antialiased interpolation
KERNEL_SHARE = 61 / 256  # of DPS's kernels in the image's side (DPS, D.1)

ImageShape = tuple[int, int, int]  # (3, H, W)


@dataclass
class OperatorConfig:
    """An operator and the noise of its measurements."""

    name: str = "half-box"  # one of OPERATORS
    sigma: float = 0.001  # deviation of the noise, in units of y (Table 1)
    seed: int = 0  # of the operator's own randomness (mask, kernel) and, in another stream, of the noise
    side: str = "left"  # half-box: the half that is hidden: left, right, top or bottom (D.4.1 hides one half)
    share: float = 0.8  # random: share of the pixels that are hidden, in [0, 1) (D.4.2)
    mask_path: str | None = None  # mask: image of the images' size; what is brighter than mid gray is seen
    stroke_share: float = 0.3  # free-form: share of the pixels that the strokes hide at least, in [0, 1) (ours)
    factor: int = 4  # super-resolution: pixels of x along each side of one of y (DPS)
    kernel_size: int | None = None  # blurs: side of the kernel, odd pixels; null: 61/256 of the image's side (DPS)
    blur_deviation: float = 3.0  # gaussian-blur: deviation of the kernel, pixels (DPS, at 256 x 256)
    oversampling: float = 1.5  # phase-retrieval: padded side by the image's side (DPS)
    exposure: float = 2.0  # hdr: slope of the curve (RED-diff); nonlinear-blur: light gathered (ours)
    quality: int = 10  # jpeg: 1 to 100 (ours)


def build_operator(config: OperatorConfig, image_shape: ImageShape, device: torch.device | str = "cpu") -> Any:
    """The `deepinv.physics.Physics` of a config: fixed once built, the same for the same seed on every device.

    Args:
        config: which operator.
        image_shape: (3, H, W) of one image.
        device: where its tensors go, and the images that it is given must be.

    Returns:
        Operator whose `A` maps images (B, 3, H, W) in [0, 1] to measurements (B, ...), differentiable. Its noise model
        is empty: the noise comes from `measure`.

    Raises:
        UserError: an unknown name, an impossible value, or deepinv is not installed.
    """
    one_of("operator.name", config.name, tuple(OPERATORS))
    _check_sigma(config.sigma)
    if config.seed < 0:
        raise UserError(f"operator.seed={config.seed} is impossible; accepted: at least 0.")
    if len(image_shape) != 3 or image_shape[0] != 3 or min(image_shape) < 1:
        raise UserError(f"image_shape={tuple(image_shape)} is impossible; accepted: (3, H, W).")
    require("deepinv", "inverse")
    generator = particle_generator(config.seed, "operator")
    return OPERATORS[config.name](config, (3, image_shape[1], image_shape[2]), generator).to(device)


def measure(physics: Any, images: Tensor, config: OperatorConfig, first: int = 0) -> Tensor:
    """Y = A(x) + sigma * noise (eq. 9), (M, ...), with one draw of the noise for each image.

    The noise of an image depends on the seed and the image's index alone. Where a mask hides pixels, y is 0 there.

    Args:
        physics: what `build_operator` made, or any other operator of deepinv.
        images: x, (M, 3, H, W) in [0, 1].
        config: for sigma and seed.
        first: index of the first image, when the images of a run come in batches.

    Raises:
        UserError: sigma < 0.
    """
    _check_sigma(config.sigma)
    from deepinv.physics import Inpainting

    with torch.no_grad():
        clean = physics.A(images)
        shape = tuple(clean.shape[1:])
        noise = particle_noise(config.seed, "measurement", 0, len(images), shape, clean.device, first).to(clean.dtype)
        if isinstance(physics, Inpainting):
            noise = noise * physics.mask
        return clean + config.sigma * noise


def operator_state(physics: Any) -> dict[str, Tensor]:
    """Tensors that fix an operator (mask, kernel ...), to be stored as safetensors beside the results.

    Complex ones become real with a last axis of 2.
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


def _half_box(config: OperatorConfig, shape: ImageShape, generator: torch.Generator) -> Any:
    one_of("operator.side", config.side, SIDES)
    _, height, width = shape
    mask = torch.ones(1, height, width)
    hidden = {
        "left": mask[..., : width // 2],
        "right": mask[..., width - width // 2 :],
        "top": mask[:, : height // 2],
        "bottom": mask[:, height - height // 2 :],
    }
    hidden[config.side].zero_()
    return _inpainting(mask, shape)


def _random(config: OperatorConfig, shape: ImageShape, generator: torch.Generator) -> Any:
    _check_share("share", config.share)
    _, height, width = shape
    order = torch.randperm(height * width, generator=generator)
    mask = torch.ones(height * width)
    mask[order[: int(config.share * height * width)]] = 0
    return _inpainting(mask.view(1, height, width), shape)


def _mask(config: OperatorConfig, shape: ImageShape, generator: torch.Generator) -> Any:
    if not config.mask_path:
        raise UserError("operator.mask_path is empty; operator.name=mask needs an image file, white where x is seen.")
    pixels = to_tensor(open_image(config.mask_path, "operator.mask_path")).mean(0, keepdim=True)
    if pixels.shape[1:] != shape[1:]:
        raise UserError(
            f"operator.mask_path={config.mask_path!r} has {pixels.shape[2]}x{pixels.shape[1]} pixels (width x height), "
            f"the images have {shape[2]}x{shape[1]}; accepted: a mask of the images' size."
        )
    mask = (pixels > 0.5).float()
    if not mask.any():
        raise UserError(
            f"operator.mask_path={config.mask_path!r} hides every pixel; accepted: some pixels brighter than mid gray."
        )
    return _inpainting(mask, shape)


def _free_form(config: OperatorConfig, shape: ImageShape, generator: torch.Generator) -> Any:
    from .free_form_mask import free_form_mask

    _check_share("stroke_share", config.stroke_share)
    return _inpainting(free_form_mask(shape[1], shape[2], config.stroke_share, generator), shape)


def _inpainting(mask: Tensor, shape: ImageShape) -> Any:
    """A mask (1, H, W) that all channels share; 1 is seen."""
    from deepinv.physics import Inpainting

    return Inpainting(img_size=shape, mask=mask.expand(shape).contiguous())


def _super_resolution(config: OperatorConfig, shape: ImageShape, generator: torch.Generator) -> Any:
    from deepinv.physics import Downsampling

    factor, sides = config.factor, shape[1:]
    if factor < 1 or any(side % factor for side in sides):
        raise UserError(
            f"operator.factor={factor} does not divide {sides[1]}x{sides[0]} pixels; accepted: a divisor of both sides."
        )
    kernel = bicubic_kernel(factor)
    if kernel.shape[-1] > min(sides):
        raise UserError(
            f"operator.factor={factor} needs images of at least {kernel.shape[-1]} pixels a side, these have "
            f"{sides[1]}x{sides[0]}; accepted: a smaller factor."
        )
    return Downsampling(img_size=shape, filter=kernel, factor=factor, padding="circular")


def bicubic_kernel(factor: int) -> Tensor:
    """Weights (1, 1, n, n) of antialiased bicubic downsampling for deepinv's `Downsampling`.

    deepinv's own are centerd on the first of the `factor` pixels that become one, which shifts the image; these are
    centerd on their middle, as image libraries do.
    """
    middle = (factor - 1) / 2
    reach = math.ceil(middle + 2 * factor) - 1  # the last pixel on which the kernel of radius 2 * factor is not 0
    offset = torch.arange(reach, -reach - 1, -1, dtype=torch.float64)  # a convolution turns its kernel round
    x = ((offset - middle) / factor).abs()
    near = (CUBIC + 2) * x**3 - (CUBIC + 3) * x**2 + 1
    far = CUBIC * (x**3 - 5 * x**2 + 8 * x - 4)
    weights = torch.where(x <= 1, near, torch.where(x < 2, far, torch.zeros_like(x)))
    weights = weights / weights.sum()
    return torch.outer(weights, weights)[None, None].float()


def _gaussian_blur(config: OperatorConfig, shape: ImageShape, generator: torch.Generator) -> Any:
    from deepinv.physics import BlurFFT
    from deepinv.physics.functional import gaussian_blur

    _check_positive("blur_deviation", config.blur_deviation)
    size = _kernel_size(config, shape)
    kernel = gaussian_blur(psf_size=(size, size), sigma=config.blur_deviation)
    return BlurFFT(img_size=shape, filter=kernel)


def _motion_blur(config: OperatorConfig, shape: ImageShape, generator: torch.Generator) -> Any:
    from deepinv.physics import BlurFFT

    return BlurFFT(img_size=shape, filter=_motion_kernel(config, shape, generator))


def _nonlinear_blur(config: OperatorConfig, shape: ImageShape, generator: torch.Generator) -> Any:
    from .nonlinear_blur import NonlinearBlur

    _check_positive("exposure", config.exposure)
    return NonlinearBlur(_motion_kernel(config, shape, generator), shape, config.exposure)


def _motion_kernel(config: OperatorConfig, shape: ImageShape, generator: torch.Generator) -> Tensor:
    from deepinv.physics.generator import MotionBlurGenerator

    size = _kernel_size(config, shape)
    kernel = MotionBlurGenerator((size, size), rng=generator).step()["filter"]
    return kernel / kernel.sum()


def _kernel_size(config: OperatorConfig, shape: ImageShape) -> int:
    shorter = min(shape[1:])
    size = config.kernel_size
    if size is None:
        size = int(KERNEL_SHARE * shorter)
        return size if size % 2 else size + 1
    if size < 1 or size % 2 == 0 or size > shorter:
        raise UserError(f"operator.kernel_size={size} is impossible; accepted: odd, 1 to {shorter}, or null.")
    return size


def _phase_retrieval(config: OperatorConfig, shape: ImageShape, generator: torch.Generator) -> Any:
    from .phase_retrieval import FourierAmplitude

    if not (math.isfinite(config.oversampling) and config.oversampling >= 1):
        raise UserError(f"operator.oversampling={config.oversampling} is impossible; accepted: at least 1.")
    padded = (3, round(config.oversampling * shape[1]), round(config.oversampling * shape[2]))
    return FourierAmplitude(shape, padded)


def _hdr(config: OperatorConfig, shape: ImageShape, generator: torch.Generator) -> Any:
    from .high_dynamic_range import HighDynamicRange

    _check_positive("exposure", config.exposure)
    return HighDynamicRange(config.exposure)


def _decolorize(config: OperatorConfig, shape: ImageShape, generator: torch.Generator) -> Any:
    from .decolorize import Decolorize

    return Decolorize(channels=3)


def _jpeg(config: OperatorConfig, shape: ImageShape, generator: torch.Generator) -> Any:
    from .jpeg import JPEG

    if not 1 <= config.quality <= 100:
        raise UserError(f"operator.quality={config.quality} is impossible; accepted: 1 to 100.")
    return JPEG(config.quality)


def _check_sigma(sigma: float) -> None:
    if not (math.isfinite(sigma) and sigma >= 0):
        raise UserError(f"operator.sigma={sigma} is impossible; accepted: at least 0.")


def _check_share(key: str, share: float) -> None:
    if not 0 <= share < 1:
        raise UserError(f"operator.{key}={share} is impossible; accepted: from 0 to less than 1.")


def _check_positive(key: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise UserError(f"operator.{key}={value} is impossible; accepted: above 0.")


OPERATORS: dict[str, Callable[[OperatorConfig, ImageShape, torch.Generator], Any]] = {
    "half-box": _half_box,
    "random": _random,
    "mask": _mask,
    "free-form": _free_form,
    "super-resolution": _super_resolution,
    "gaussian-blur": _gaussian_blur,
    "motion-blur": _motion_blur,
    "nonlinear-blur": _nonlinear_blur,
    "phase-retrieval": _phase_retrieval,
    "hdr": _hdr,
    "decolorize": _decolorize,
    "jpeg": _jpeg,
}
