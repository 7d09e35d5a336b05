"""Volume rendering of packed samples (Max, 1995): weights of the samples and images of the rays.

The samples of all rays are packed into tensors of S rows. The samples of a ray are adjacent, from near to far, and
`ray_indices` (S,) holds the ray of each sample, in ascending order.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

MIN_OPACITY = 1e-5  # lower limit of opacity where depth is divided by it; threestudio
SOLID = 0.5  # opacity above which a ray has a z-variance (HiFA, Zhu et al., 2023)


def exclusive_sum(values: Tensor, ray_indices: Tensor, n_rays: int) -> Tensor:
    """Sum of the values before each sample on its ray.

    Each ray is summed separately, because differences of a sum over all rays would lose small values in float32.

    Args:
        values: value of each sample, (S,).
        ray_indices: ray of each sample, (S,).
        n_rays: number of rays.

    Returns:
        (S,)

    Example:
        >>> exclusive_sum(torch.tensor([1.0, 2.0, 3.0, 5.0]), torch.tensor([0, 0, 0, 1]), n_rays=2)
        tensor([0., 1., 3., 0.])
    """
    counts = torch.bincount(ray_indices, minlength=n_rays)
    # A table with a row for each ray that has samples; the first entry of a row is the empty sum.
    rows = (counts > 0).cumsum(0) - 1
    width = (int(counts.max()) if len(values) else 0) + 1
    order = torch.arange(len(values), device=values.device) - (counts.cumsum(0) - counts)[ray_indices]
    place = rows[ray_indices] * width + order
    n_rows = int(rows[-1]) + 1 if n_rays else 0
    table = values.new_zeros(n_rows * width).scatter(0, place + 1, values)
    return table.reshape(n_rows, width).cumsum(1).reshape(-1).gather(0, place)


def rendering_weights(
    t_starts: Tensor, t_ends: Tensor, densities: Tensor, ray_indices: Tensor, n_rays: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Weight of each sample in the color of its ray.

    Args:
        t_starts: distances from the origins of the rays at which the samples start, (S,).
        t_ends: distances at which the samples end, (S,).
        densities: density of each sample per unit of length, (S,).
        ray_indices: ray of each sample, (S,).
        n_rays: number of rays.

    Returns:
        Weights, transmittances up to the samples, and opacities alpha of the samples, each (S,).
    """
    optical_depth = densities * (t_ends - t_starts)
    transmittance = torch.exp(-exclusive_sum(optical_depth, ray_indices, n_rays))
    alpha = -torch.expm1(-optical_depth)
    return transmittance * alpha, transmittance, alpha


def accumulate(weights: Tensor, values: Tensor, ray_indices: Tensor, n_rays: int) -> Tensor:
    """Weighted sum of values along each ray.

    Args:
        weights: weight of each sample, (S,).
        values: values of each sample, (S, C).
        ray_indices: ray of each sample, (S,).
        n_rays: number of rays.

    Returns:
        (n_rays, C)
    """
    weighted = weights[:, None] * values
    return weighted.new_zeros(n_rays, values.shape[-1]).index_add(0, ray_indices, weighted)


@dataclass
class Pixels:
    """Rendered values of n rays."""

    rgb: Tensor  # color without background, (n, C)
    opacity: Tensor  # opacity in [0, 1], (n, 1)
    depth: Tensor  # weighted sum of distances, 0 on empty rays, (n, 1)
    z_variance: Tensor  # variance of the distance (HiFA), 0 on rays with an opacity up to SOLID, (n, 1)


def composite(weights: Tensor, t_points: Tensor, colors: Tensor, ray_indices: Tensor, n_rays: int) -> Pixels:
    """Color, opacity, depth and z-variance of each ray.

    Args:
        weights: weight of each sample, (S,).
        t_points: distance of each sample's midpoint from the camera, (S, 1).
        colors: color of each sample, (S, C).
        ray_indices: ray of each sample, (S,).
        n_rays: number of rays.
    """
    summed = accumulate(weights, torch.cat([torch.ones_like(t_points), t_points, colors], -1), ray_indices, n_rays)
    opacity, depth, rgb = summed[:, :1], summed[:, 1:2], summed[:, 2:]
    seen = opacity.clamp(min=MIN_OPACITY)
    deviation = t_points - (depth / seen)[ray_indices]
    z_variance = accumulate(weights, deviation**2, ray_indices, n_rays) / seen
    return Pixels(rgb, opacity, depth, z_variance * (opacity > SOLID))
