"""Marching cubes on a regular grid."""

import numpy as np
import torch
from torch import Tensor

from ...errors import require
from .mesh import Mesh


def grid_points(resolution: int, box: Tensor) -> Tensor:
    """Points of a regular grid in a box, corners included.

    Args:
        resolution: number of points along each axis.
        box: lower and upper corner, (2, 3).

    Returns:
        (resolution^3, 3); z changes fastest.

    Example:
        >>> grid_points(2, torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]))[:3]
        tensor([[0., 0., 0.],
                [0., 0., 1.],
                [0., 1., 0.]])
    """
    axes = [torch.linspace(float(low), float(high), resolution) for low, high in zip(*box, strict=True)]
    return torch.cartesian_prod(*axes)


def marching_cubes(level: Tensor, resolution: int, box: Tensor) -> Mesh:
    """Mesh of the surface where a function is 0, by marching cubes (Lewiner et al., 2003).

    Args:
        level: values of the function at `grid_points`, (resolution^3, 1); negative inside. Both signs must occur.
        resolution: number of points along each axis.
        box: lower and upper corner of the grid, (2, 3); the mesh is on the same device.

    Raises:
        UserError: scikit-image is not installed.
    """
    measure = require("skimage.measure", "mesh")
    volume = level.detach().cpu().float().view(resolution, resolution, resolution).numpy()
    vertices, faces, _, _ = measure.marching_cubes(volume, 0.0, allow_degenerate=False)
    share = torch.from_numpy(vertices.astype(np.float32)).to(box) / (resolution - 1)
    return Mesh(box[0] + share * (box[1] - box[0]), torch.from_numpy(faces.astype(np.int64)).to(box.device))
