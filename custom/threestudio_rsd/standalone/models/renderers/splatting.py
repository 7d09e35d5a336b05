"""Splatting of 3D Gaussians in plain PyTorch: projection to the screen, and composition tile by tile.

The equations are those of 3D Gaussian splatting (Kerbl et al., 2023) with the conventions of gsplat: centers of pixels
at half integers, a blur of the screen against aliasing, 3 standard deviations as the extent of a Gaussian.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ....errors import UserError

TILE = 16  # pixels along the side of a tile
EXTENT = 3.0  # standard deviations beyond which a Gaussian is not drawn
MOST_ALPHA = 0.999  # of one Gaussian in one pixel, so that logarithms of the transmittance are finite


class Gaussians(NamedTuple):
    """A cloud of G Gaussians in the world."""

    positions: Tensor  # (G, 3)
    scales: Tensor  # standard deviations along the axes, (G, 3)
    rotations: Tensor  # quaternions w, x, y, z of any length, (G, 4)
    opacities: Tensor  # in [0, 1], (G,)
    colors: Tensor  # (G, C)


class Splats(NamedTuple):
    """Gaussians on the screen of one camera, from near to far."""

    centers: Tensor  # x, y in pixels, (G, 2)
    inverses: Tensor  # inverse covariances, xx, xy, yy, (G, 3)
    depths: Tensor  # distance along the viewing direction, (G,)
    radii: Tensor  # extent in pixels, (G,)
    opacities: Tensor  # (G,)
    colors: Tensor  # (G, C)


class SplatImage(NamedTuple):
    """Image of splats, without a background."""

    rgb: Tensor  # (H, W, C)
    opacity: Tensor  # (H, W, 1)
    depth: Tensor  # mean depth times opacity, (H, W, 1)


def check_has_gaussians(geometry: Any, refusal: str) -> None:
    """Check that a geometry is a cloud of Gaussians.

    Args:
        geometry: module of any kind.
        refusal: beginning of the error, such as "gaussian-rasterizer cannot render".

    Raises:
        UserError: it is not.
    """
    if not hasattr(geometry, "gaussians"):
        raise UserError(f"{refusal} a {type(geometry).__name__}, which has no Gaussians; accepted: gaussian-splats.")


def world_to_camera(c2w: Tensor) -> Tensor:
    """World-to-camera matrices with x to the right, y down and z forward, as in OpenCV and gsplat.

    Args:
        c2w: camera-to-world matrices with y up and z backward, as in OpenGL and threestudio, (B, 4, 4).

    Returns:
        (B, 4, 4)
    """
    flip = torch.diag(c2w.new_tensor([1.0, -1.0, -1.0, 1.0]))
    return flip @ torch.linalg.inv(c2w)


def covariances(scales: Tensor, rotations: Tensor) -> Tensor:
    """Covariances R S S R^T, (G, 3, 3).

    Args:
        scales: standard deviations, (G, 3).
        rotations: quaternions w, x, y, z of any length, (G, 4).
    """
    w, x, y, z = functional.normalize(rotations, dim=-1).unbind(-1)
    rows = [
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], -1),
        torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], -1),
        torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], -1),
    ]
    half = torch.stack(rows, -2) * scales[:, None, :]
    return half @ half.transpose(-1, -2)


def project(cloud: Gaussians, view: Tensor, focal: Tensor, size: tuple[int, int], near: float, blur: float) -> Splats:
    """Project Gaussians to a screen, to first order around their centers (EWA splatting, Zwicker et al., 2001).

    Args:
        cloud: Gaussians in the world.
        view: result of `world_to_camera` for one camera, (4, 4).
        focal: focal length in pixels, scalar.
        size: height and width of the screen, pixels.
        near: distance in front of the camera below which Gaussians are left out.
        blur: variance that is added on the screen, pixels^2.
    """
    rotation, shift = view[:3, :3], view[:3, 3]
    x, y, z = (cloud.positions @ rotation.T + shift).unbind(-1)
    seen = z > near
    depth = torch.where(seen, z, 1.0)  # of those left out any, so that no division by 0 enters a gradient
    height, width = size
    centers = torch.stack([focal * x / depth + width / 2, focal * y / depth + height / 2], -1)
    zero = torch.zeros_like(depth)
    jacobian = torch.stack(
        [
            torch.stack([focal / depth, zero, -focal * x / depth**2], -1),
            torch.stack([zero, focal / depth, -focal * y / depth**2], -1),
        ],
        -2,
    )
    half = jacobian @ rotation
    screen = half @ covariances(cloud.scales, cloud.rotations) @ half.transpose(-1, -2)
    xx, xy, yy = screen[:, 0, 0] + blur, screen[:, 0, 1], screen[:, 1, 1] + blur
    determinant = (xx * yy - xy * xy).clamp_min(1e-12)
    inverses = torch.stack([yy, -xy, xx], -1) / determinant[:, None]
    middle = (xx + yy) / 2
    largest = middle + (middle**2 - determinant).clamp_min(0.0).sqrt().detach()
    radii = torch.where(seen, EXTENT * largest.detach().sqrt(), 0.0)
    order = depth.detach().argsort()
    order = order[(radii > 0)[order]]
    return Splats(*(each[order] for each in (centers, inverses, depth, radii, cloud.opacities, cloud.colors)))


def draw(splats: Splats, size: tuple[int, int]) -> SplatImage:
    """Compose splats from near to far.

    Args:
        splats: result of `project`.
        size: height and width, pixels.
    """
    height, width = size
    rows = []
    for top in range(0, height, TILE):
        tiles = []
        for left in range(0, width, TILE):
            bottom, right = min(top + TILE, height), min(left + TILE, width)
            near_tile = _touch(splats, top, bottom, left, right)
            tiles.append(_draw_tile(Splats(*(each[near_tile] for each in splats)), top, bottom, left, right))
        rows.append(torch.cat(tiles, 1))
    rgb, opacity, depth = torch.cat(rows, 0).split([splats.colors.shape[-1], 1, 1], -1)
    return SplatImage(rgb, opacity, depth)


def _touch(splats: Splats, top: int, bottom: int, left: int, right: int) -> Tensor:
    """Indices of the splats whose extent meets a tile."""
    x, y = splats.centers.detach().unbind(-1)
    meets = (x + splats.radii > left) & (x - splats.radii < right)
    return (meets & (y + splats.radii > top) & (y - splats.radii < bottom)).nonzero()[:, 0]


def _draw_tile(splats: Splats, top: int, bottom: int, left: int, right: int) -> Tensor:
    """Colors, opacity and depth of the pixels of a tile, (h, w, C + 2)."""
    ys = torch.arange(top, bottom, device=splats.centers.device) + 0.5
    xs = torch.arange(left, right, device=splats.centers.device) + 0.5
    dx = xs[None, None, :] - splats.centers[:, 0, None, None]
    dy = ys[None, :, None] - splats.centers[:, 1, None, None]
    xx, xy, yy = splats.inverses[:, :, None, None].unbind(1)
    power = -0.5 * (xx * dx * dx + yy * dy * dy) - xy * dx * dy
    alphas = (splats.opacities[:, None, None] * power.clamp_max(0.0).exp()).clamp_max(MOST_ALPHA).flatten(1)
    # Transmittance before each splat: the sum of logarithms has a cheaper gradient than the product.
    passed = torch.log1p(-alphas)
    weights = alphas * (passed.cumsum(0) - passed).exp()
    values = torch.cat([splats.colors, torch.ones_like(splats.depths)[:, None], splats.depths[:, None]], -1)
    return (weights.T @ values).reshape(bottom - top, right - left, -1)
