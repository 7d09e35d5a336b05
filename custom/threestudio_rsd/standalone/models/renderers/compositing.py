"""Volume rendering of packed samples: how much each one is seen, and what a ray sees (Max, 1995).

Samples are packed: those of a ray lie together, from near to far, and `ray_indices` (S,) says which ray each belongs
to, in ascending order. So rays of several particles can be rendered at once, as further rays.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

MIN_OPACITY = 1e-5  # threestudio; below it a ray has no mean depth worth the name
SOLID = 0.5  # opacity from which a ray has a z-variance (HiFA, Zhu et al., 2023)


def exclusive_sum(values: Tensor, ray_indices: Tensor, n_rays: int) -> Tensor:
    """Sum of the values before each sample on its own ray, (S,).

    Each ray is summed by itself: a difference of running sums over all rays would lose the small values in float32.

    Args:
        values: (S,).
        ray_indices: ray of each sample, (S,).
        n_rays: number of rays.
    """
    counts = torch.bincount(ray_indices, minlength=n_rays)
    # One row for each ray that has samples; its first entry is the empty sum.
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
    """Share that each sample has in its ray's color.

    Args:
        t_starts, t_ends: where the samples begin and end on their rays, (S,).
        densities: of the samples, per unit of length, (S,).
        ray_indices: ray of each sample, (S,).
        n_rays: number of rays.

    Returns:
        weights, transmittance up to the sample, and opacity alpha of the sample itself, each (S,).
    """
    optical_depth = densities * (t_ends - t_starts)
    transmittance = torch.exp(-exclusive_sum(optical_depth, ray_indices, n_rays))
    alpha = -torch.expm1(-optical_depth)
    return transmittance * alpha, transmittance, alpha


def accumulate(weights: Tensor, values: Tensor, ray_indices: Tensor, n_rays: int) -> Tensor:
    """Weighted sum of the values (S, C) along each ray, with weights (S,): (n_rays, C)."""
    weighted = weights[:, None] * values
    return weighted.new_zeros(n_rays, values.shape[-1]).index_add(0, ray_indices, weighted)


@dataclass
class Pixels:
    """What n rays see."""

    rgb: Tensor  # (n, C), not over a background yet
    opacity: Tensor  # (n, 1), in [0, 1]
    depth: Tensor  # (n, 1), weighted sum of distances: 0 where nothing is seen
    z_variance: Tensor  # (n, 1), of the distance, 0 on rays that are not solid (HiFA)


def composite(weights: Tensor, t_points: Tensor, colors: Tensor, ray_indices: Tensor, n_rays: int) -> Pixels:
    """Color, opacity, depth and z-variance of each ray.

    Args:
        weights: of the samples, (S,).
        t_points: distances of the samples' midpoints from the camera, (S, 1).
        colors: of the samples, (S, C).
        ray_indices: ray of each sample, (S,).
        n_rays: number of rays.
    """
    summed = accumulate(weights, torch.cat([torch.ones_like(t_points), t_points, colors], -1), ray_indices, n_rays)
    opacity, depth, rgb = summed[:, :1], summed[:, 1:2], summed[:, 2:]
    seen = opacity.clamp(min=MIN_OPACITY)
    deviation = t_points - (depth / seen)[ray_indices]
    z_variance = accumulate(weights, deviation**2, ray_indices, n_rays) / seen
    return Pixels(rgb, opacity, depth, z_variance * (opacity > SOLID))
