"""Metrics of restored images: PSNR, SSIM and LPIPS against the true image, and the residual of the measurement.

Images are (B, 3, H, W) and clamped to [0, 1], as in an image file. Each metric returns one number per image.
"""

from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from ..finite import require_finite
from .lpips import load_lpips

SMALLEST_ERROR = 1e-10  # lower limit of the mean squared error, which limits PSNR to 100 dB
CHUNK = 64  # images per forward pass of the LPIPS network


def psnr(images: Tensor, reference: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB: -10 log10 of the mean squared error.

    Args:
        images: restored images, (B, 3, H, W).
        reference: true images, (B, 3, H, W).

    Returns:
        (B,), at most 100.

    Raises:
        UserError: images of another shape than the reference.

    Example:
        >>> psnr(torch.full((1, 3, 8, 8), 0.6), torch.full((1, 3, 8, 8), 0.5))
        tensor([20.0000])
    """
    images, reference = _pair(images, reference)
    error: Tensor = (images - reference).square().mean((1, 2, 3))
    return -10 * error.clamp_min(SMALLEST_ERROR).log10()


def ssim(images: Tensor, reference: Tensor) -> Tensor:
    """Structural similarity (Wang et al., 2004) with a Gaussian window of 11 x 11 pixels.

    Args:
        images: restored images, (B, 3, H, W).
        reference: true images, (B, 3, H, W).

    Returns:
        (B,), at most 1.

    Raises:
        UserError: images of another shape than the reference.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    images, reference = _pair(images, reference)
    values: Tensor = structural_similarity_index_measure(images, reference, data_range=1.0, reduction="none")  # type: ignore[assignment]
    return values.reshape(len(images))  # torchmetrics returns a scalar for a batch of one


@torch.no_grad()
def lpips_distance(images: Tensor, reference: Tensor, network: Any = None) -> Tensor:
    """LPIPS distance (Zhang et al., 2018).

    Args:
        images: restored images, (B, 3, H, W).
        reference: true images, (B, 3, H, W).
        network: network from `load_lpips`; None: loads it.

    Returns:
        (B,); 0 for equal images.

    Raises:
        UserError: see `load_lpips`, or images of another shape than the reference.
    """
    images, reference = _pair(images, reference)
    if network is None:
        network = load_lpips(images.device)
    parts = zip(images.split(CHUNK), reference.split(CHUNK), strict=True)
    return torch.cat([network(2 * a - 1, 2 * b - 1).flatten() for a, b in parts])


def measurement_residual(measurement: Tensor, produced: Tensor) -> Tensor:
    """Root mean square of y - A(x).

    Args:
        measurement: y, (B, ...).
        produced: A(x), (B, ...).

    Returns:
        (B,), in units of y.

    Raises:
        UserError: y and A(x) differ in shape.
    """
    if measurement.shape != produced.shape:
        raise UserError(
            f"A(x) of shape {tuple(produced.shape)} does not fit the measurement; accepted: {tuple(measurement.shape)}."
        )
    residual: Tensor = (measurement - produced).flatten(1).abs().square().mean(1).sqrt()
    return residual


def reconstruction_metrics(
    reconstructions: Tensor, truth: Tensor, lpips_network: Any = None
) -> dict[str, dict[str, Tensor]]:
    """All metrics of N reconstructions of each of M images.

    Args:
        reconstructions: (M, N, 3, H, W) in [0, 1].
        truth: (M, 3, H, W) in [0, 1].
        lpips_network: network from `load_lpips`; None: without LPIPS.

    Returns:
        For each metric (psnr, ssim, lpips): `particles`, one value per particle, (M, N); `best` and `mean` over the
        particles, (M,); `mean_image`, the value of the pixel-wise mean of the particles, (M,).

    Raises:
        UserError: the shapes do not fit.
    """
    if reconstructions.ndim != 5 or reconstructions[:, 0].shape != truth.shape:
        raise UserError(
            f"reconstructions of shape {tuple(reconstructions.shape)} do not fit the truth {tuple(truth.shape)}; "
            "accepted: (M, N, 3, H, W) and (M, 3, H, W)."
        )
    m, n = reconstructions.shape[:2]
    flat, repeated = reconstructions.flatten(0, 1), truth.repeat_interleave(n, 0)
    average = reconstructions.clamp(0, 1).mean(1)
    measures: dict[str, Any] = {"psnr": (psnr, torch.amax), "ssim": (ssim, torch.amax)}
    if lpips_network is not None:
        measures["lpips"] = (lambda a, b: lpips_distance(a, b, lpips_network), torch.amin)
    result = {}
    for name, (measure, best) in measures.items():
        values = measure(flat, repeated).reshape(m, n)
        result[name] = {
            "particles": values,
            "best": best(values, 1),
            "mean": values.mean(1),
            "mean_image": measure(average, truth),
        }
    return result


def _pair(images: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Both image batches clamped to [0, 1], at least in single precision."""
    if images.ndim != 4 or images.shape != reference.shape:
        raise UserError(
            f"images of shape {tuple(images.shape)} cannot be compared with {tuple(reference.shape)}; "
            "accepted: twice the same (B, 3, H, W)."
        )
    require_finite("the images", images)
    require_finite("the reference images", reference)
    dtype = torch.promote_types(images.dtype, torch.float32)
    return images.to(dtype).clamp(0, 1), reference.to(dtype).clamp(0, 1)
