"""Inpainting operators: masks that hide a half, random pixels, the black part of a file, or brush strokes."""

from typing import Any

import torch
from torch import Tensor

from ...errors import UserError, one_of
from ...images.reading import open_mask
from .config import ImageShape, OperatorConfig
from .free_form_mask import free_form_mask

SIDES = ("left", "right", "top", "bottom")


def half_box(config: OperatorConfig, shape: ImageShape, generator: torch.Generator) -> Any:
    """Inpainting that hides the half `side` of each image."""
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


def random_pixels(config: OperatorConfig, shape: ImageShape, generator: torch.Generator) -> Any:
    """Inpainting that hides random pixels, the part `share` of them."""
    _check_share("share", config.share)
    _, height, width = shape
    order = torch.randperm(height * width, generator=generator)
    mask = torch.ones(height * width)
    mask[order[: int(config.share * height * width)]] = 0
    return _inpainting(mask.view(1, height, width), shape)


def mask_file(config: OperatorConfig, shape: ImageShape, generator: torch.Generator) -> Any:
    """Inpainting with the mask in the image file `mask_path`: its alpha channel, else its brightness."""
    if not config.mask_path:
        raise UserError("operator.mask_path is empty; operator.name=mask needs an image file, white where x is seen.")
    pixels = open_mask(config.mask_path, "operator.mask_path")
    if pixels.shape[1:] != shape[1:]:
        raise UserError(
            f"operator.mask_path={config.mask_path!r} has {pixels.shape[2]}x{pixels.shape[1]} pixels (width x height), "
            f"the images have {shape[2]}x{shape[1]}; accepted: a mask of the images' size."
        )
    mask = (pixels > 0.5).float()
    if not mask.any():
        raise UserError(
            f"operator.mask_path={config.mask_path!r} hides every pixel; accepted: some pixels brighter than mid gray, "
            "or opaque ones in an image with an alpha channel."
        )
    if mask.all():
        raise UserError(
            f"operator.mask_path={config.mask_path!r} hides nothing; accepted: some pixels darker than mid gray, or "
            "transparent ones in an image with an alpha channel."
        )
    return _inpainting(mask, shape)


def free_form(config: OperatorConfig, shape: ImageShape, generator: torch.Generator) -> Any:
    """Inpainting that hides random brush strokes, at least the part `stroke_share` of the pixels."""
    _check_share("stroke_share", config.stroke_share)
    return _inpainting(free_form_mask(shape[1], shape[2], config.stroke_share, generator), shape)


def _inpainting(mask: Tensor, shape: ImageShape) -> Any:
    """Inpainting operator of a mask (1, H, W) for all channels; 1 is seen."""
    from deepinv.physics import Inpainting

    return Inpainting(img_size=shape, mask=mask.expand(shape).contiguous())


def _check_share(key: str, share: float) -> None:
    if not 0 <= share < 1:
        raise UserError(f"operator.{key}={share} is impossible; accepted: from 0 to less than 1.")
