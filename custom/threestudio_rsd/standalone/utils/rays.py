"""Cameras and their rays in threestudio's conventions.

The world is right-handed with z up. A camera at azimuth 0 degrees is on the x axis, at 90 degrees on the y axis. It
looks along its own -z axis, with x to the right and y up. All angles in this file are in radians.
"""

import torch
from torch import Tensor
from torch.nn import functional

NEAR, FAR = 0.01, 100.0  # clipping planes of the projection matrix, world units; threestudio


def orbit_positions(elevation: Tensor, azimuth: Tensor, distance: Tensor) -> Tensor:
    """Positions on spheres around the origin.

    Args:
        elevation: angle above the horizontal plane, radians, (B,).
        azimuth: angle around the z axis, radians, (B,).
        distance: distance from the origin, world units, (B,).

    Returns:
        (B, 3)

    Example:
        >>> orbit_positions(torch.zeros(1), torch.zeros(1), torch.full((1,), 2.0))
        tensor([[2., 0., 0.]])
    """
    horizontal = distance * elevation.cos()
    return torch.stack([horizontal * azimuth.cos(), horizontal * azimuth.sin(), distance * elevation.sin()], dim=-1)


def look_at(positions: Tensor, targets: Tensor, ups: Tensor) -> Tensor:
    """Camera-to-world matrices of cameras that look at points.

    Args:
        positions: camera positions, (B, 3).
        targets: points in the middle of the views, (B, 3).
        ups: approximate upward directions, (B, 3).

    Returns:
        (B, 4, 4)
    """
    forward = functional.normalize(targets - positions, dim=-1)
    right = functional.normalize(torch.linalg.cross(forward, ups), dim=-1)
    up = functional.normalize(torch.linalg.cross(right, forward), dim=-1)
    matrices = torch.eye(4).repeat(len(positions), 1, 1)
    matrices[:, :3] = torch.stack([right, up, -forward, positions], dim=-1)
    return matrices


def focal_lengths(fovy: Tensor, height: int) -> Tensor:
    """Focal lengths in pixels, (B,).

    Args:
        fovy: vertical field of view, radians, (B,).
        height: image height, pixels.
    """
    return 0.5 * height / (0.5 * fovy).tan()


def camera_rays(c2w: Tensor, fovy: Tensor, height: int, width: int, normalize: bool = True) -> tuple[Tensor, Tensor]:
    """Rays through the centers of the pixels.

    Args:
        c2w: camera-to-world matrices, (B, 4, 4).
        fovy: vertical field of view, radians, (B,).
        height: image height H, pixels.
        width: image width W, pixels.
        normalize: return unit directions; otherwise their component along the camera's axis is 1.

    Returns:
        Origins and directions, each (B, H, W, 3).
    """
    rows, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    plane = torch.stack([columns - width / 2, height / 2 - rows], dim=-1)  # (H, W, 2), pixels from the center
    focal = focal_lengths(fovy, height)
    across = plane / focal[:, None, None, None]
    in_camera = torch.cat([across, -torch.ones_like(across[..., :1])], dim=-1)
    directions = torch.einsum("bij,bhwj->bhwi", c2w[:, :3, :3], in_camera)
    if normalize:
        directions = functional.normalize(directions, dim=-1)
    return c2w[:, None, None, :3, 3].expand_as(directions).contiguous(), directions


def projection_matrices(fovy: Tensor, aspect: float) -> Tensor:
    """OpenGL projection matrices with y downward, as rasterizers take them.

    Args:
        fovy: vertical field of view, radians, (B,).
        aspect: image width divided by height.

    Returns:
        (B, 4, 4)
    """
    matrices = torch.zeros(len(fovy), 4, 4)
    scale = 1 / (fovy / 2).tan()
    matrices[:, 0, 0] = scale / aspect
    matrices[:, 1, 1] = -scale
    matrices[:, 2, 2] = -(FAR + NEAR) / (FAR - NEAR)
    matrices[:, 2, 3] = -2 * FAR * NEAR / (FAR - NEAR)
    matrices[:, 3, 2] = -1
    return matrices


def view_batch(c2w: Tensor, fovy: Tensor, height: int, width: int, normalize: bool = True) -> dict[str, Tensor]:
    """Part of a batch that describes the cameras and their rays.

    Args:
        c2w: camera-to-world matrices, (B, 4, 4).
        fovy: vertical field of view, radians, (B,).
        height: image height H, pixels.
        width: image width W, pixels.
        normalize: see `camera_rays`.

    Returns:
        rays_o, rays_d (B, H, W, 3), mvp_mtx, c2w, proj_mtx (B, 4, 4), fovy (B,).
    """
    rays_o, rays_d = camera_rays(c2w, fovy, height, width, normalize)
    projection = projection_matrices(fovy, width / height)
    return {
        "rays_o": rays_o,
        "rays_d": rays_d,
        "mvp_mtx": projection @ torch.linalg.inv(c2w),
        "c2w": c2w,
        "proj_mtx": projection,
        "fovy": fovy,
    }
