"""Decoders that turn latents into the images whose features the force compares, from exact to nearly free."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UserError, first_line
from ..priors import Prior

Decoder = Callable[[Tensor], Tensor]
FEATURE_DECODERS = ("full", "resized", "linear")
CALIBRATION_IMAGES = 8


def feature_decoder(kind: str, prior: Prior, features: Any = None) -> Decoder:
    """Decoder for the repulsive force; its images are not clamped to [0, 1].

    Args:
        kind: one of the decoders below; with a pixel-space prior, which decodes at no cost, all are the same.
            `full`: the prior's own (the paper).
            `resized`: the same at the resolution of the feature network, where that is fixed and lower: the latents
            are resized before they are decoded.
            `linear`: one image pixel for each latent pixel by a linear map, see `LinearDecoder`.
            The folder or hub id of an AutoencoderTiny of diffusers that fits the prior, such as madebyollin/taesd for
            Stable Diffusion 1 and 2.
        prior: the diffusion model.
        features: feature network; `resized` reads its `image_size`, where it has one.

    Returns:
        Callable from particles (N, *latent_shape) to images (N, 3, H, W), differentiable.

    Raises:
        UserError: an unknown kind, or an AutoencoderTiny that cannot be loaded.

    Example:
        >>> from threestudio_rsd.priors import load_prior
        >>> prior = load_prior("bundled")
        >>> feature_decoder("linear", prior)(torch.randn(2, *prior.latent_shape)).shape
        torch.Size([2, 3, 16, 16])
    """
    if kind not in FEATURE_DECODERS and "/" not in kind and not Path(kind).is_dir():
        raise UserError(
            f"feature_decoder={kind!r} is unknown; accepted: {', '.join(FEATURE_DECODERS)}, or the folder or hub id of "
            "an AutoencoderTiny."
        )
    if kind == "full" or not prior.is_latent:
        return lambda latents: prior.decode(latents, clamp=False)
    if kind == "resized":
        return _resized(prior, features)
    return LinearDecoder.fitted(prior) if kind == "linear" else _tiny(kind, prior)


def _resized(prior: Prior, features: Any) -> Decoder:
    size = getattr(features, "image_size", prior.image_size)
    size = size if isinstance(size, int) else max(size)  # of height and width
    latent_size = prior.latent_shape[-1]
    pixels = prior.image_size // latent_size  # of one latent pixel, along a side
    target = min(-(-size // pixels), latent_size)

    def decode(latents: Tensor) -> Tensor:
        if target < latent_size:
            latents = F.interpolate(latents, (target, target), mode="bilinear", align_corners=False, antialias=True)
        return prior.decode(latents, clamp=False)

    return decode


def _tiny(location: str, prior: Prior) -> Decoder:
    import diffusers

    if not hasattr(diffusers, "AutoencoderTiny"):
        raise UserError(
            f"feature_decoder={location!r} needs diffusers 0.20, this is {diffusers.__version__}; accepted with it: "
            f"{', '.join(FEATURE_DECODERS)}."
        )
    try:
        network: Any = diffusers.AutoencoderTiny.from_pretrained(location, torch_dtype=prior.dtype)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"feature_decoder={location!r} cannot be loaded ({first_line(error)}); accepted: "
            f"{', '.join(FEATURE_DECODERS)}, or a folder or hub id of an AutoencoderTiny."
        ) from error
    if network.config.latent_channels != prior.latent_shape[0]:
        raise UserError(
            f"feature_decoder={location!r} takes latents of {network.config.latent_channels} channels; accepted: one "
            f"for the prior's {prior.latent_shape[0]}."
        )
    network = network.decoder.requires_grad_(False).eval().to(prior.device)

    def decode(latents: Tensor) -> Tensor:
        images: Tensor = network(latents.to(prior.dtype)).float()  # takes scaled latents, as the prior's particles are
        return images / 2 + 0.5

    return decode


class LinearDecoder(nn.Module):
    """Images at the resolution of the latents: each pixel is an affine map of the 3x3 latent pixels around it.

    Args:
        weight: (3, C, 3, 3).
        bias: (3,).
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    @classmethod
    @torch.no_grad()
    def fitted(cls, prior: Prior) -> "LinearDecoder":
        """Least-squares fit to the prior's encoder on `calibration_images`; the same for the same prior."""
        images = calibration_images(CALIBRATION_IMAGES, prior.image_size).to(prior.device)
        latents = torch.cat([prior.encode(image[None]) for image in images])
        pixels = (
            F.adaptive_avg_pool2d(images, (latents.shape[-2], latents.shape[-1]))
            .flatten(2)
            .transpose(1, 2)
            .flatten(0, 1)
        )
        patches = F.unfold(latents, 3, padding=1).transpose(1, 2).flatten(0, 1)
        design = torch.cat([patches, torch.ones_like(patches[:, :1])], 1).double().cpu()
        solution = torch.linalg.lstsq(design, pixels.double().cpu()).solution.float().to(prior.device)
        return cls(solution[:-1].T.reshape(3, latents.shape[1], 3, 3).contiguous(), solution[-1].contiguous())

    def forward(self, latents: Tensor) -> Tensor:
        return F.conv2d(latents, self.weight.to(latents.dtype), self.bias.to(latents.dtype), padding=1)


def calibration_images(count: int, size: int) -> Tensor:
    """Smooth random color fields with random rectangles on them, (count, 3, size, size) in [0, 1]."""
    generator = torch.Generator().manual_seed(0)
    images = torch.zeros(count, 3, size, size)
    for cells in (2, 4, 8, 16):
        field = torch.randn(count, 3, cells, cells, generator=generator)
        images += F.interpolate(field, (size, size), mode="bicubic", align_corners=False) / cells**0.5
    images = torch.sigmoid(2 * images)
    for image in images:
        for _ in range(8):
            top, left = torch.randint(0, size - 1, (2,), generator=generator).tolist()
            height, width = torch.randint(size // 8, size // 2, (2,), generator=generator).tolist()
            image[:, top : top + height, left : left + width] = torch.rand(3, 1, 1, generator=generator)
    return images
