"""Encoding of directions by real spherical harmonics, in tiny-cuda-nn's order and signs."""

import math

import torch
from torch import Tensor, nn

from ....errors import UserError, one_of

MAX_DEGREE = 4  # largest number of bands, enough for threestudio's configs


def spherical_harmonics(directions: Tensor, degree: int) -> Tensor:
    """Evaluate real spherical harmonics of the bands 0 to `degree` - 1, orthonormal on the sphere (Sloan, 2013).

    Args:
        directions: unit vectors (*N, 3).
        degree: number of bands, 1 to 4.

    Returns:
        (*N, degree^2)
    """
    x, y, z = directions.unbind(-1)
    bands = [torch.full_like(x, _root(1, 4))]
    if degree > 1:
        bands += [-_root(3, 4) * y, _root(3, 4) * z, -_root(3, 4) * x]
    if degree > 2:
        bands += [
            _root(15, 4) * x * y,
            -_root(15, 4) * y * z,
            _root(5, 16) * (3 * z**2 - 1),
            -_root(15, 4) * x * z,
            _root(15, 16) * (x**2 - y**2),
        ]
    if degree > 3:
        bands += [
            _root(35, 32) * y * (y**2 - 3 * x**2),
            _root(105, 4) * x * y * z,
            _root(21, 32) * y * (1 - 5 * z**2),
            _root(7, 16) * z * (5 * z**2 - 3),
            _root(21, 32) * x * (1 - 5 * z**2),
            _root(105, 16) * z * (x**2 - y**2),
            _root(35, 32) * x * (3 * y**2 - x**2),
        ]
    return torch.stack(bands, dim=-1)


class SphericalHarmonics(nn.Module):
    """Encoding of directions d, which are passed as (d + 1) / 2 in [0, 1].

    Args:
        n_input_dims: must be 3.
        degree: number of bands, 1 to 4.

    Raises:
        UserError: another degree or number of inputs.
    """

    def __init__(self, n_input_dims: int = 3, degree: int = MAX_DEGREE) -> None:
        super().__init__()
        if n_input_dims != 3:
            raise UserError(f"otype=SphericalHarmonics with {n_input_dims} inputs is impossible; accepted: 3.")
        one_of("SphericalHarmonics: degree", degree, range(1, MAX_DEGREE + 1))
        self.degree = degree
        self.n_input_dims = n_input_dims
        self.n_output_dims = degree**2

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (N, 3) in [0, 1] to (N, degree^2)."""
        return spherical_harmonics(inputs * 2 - 1, self.degree)


def _root(numerator: int, denominator: int) -> float:
    """Return sqrt(numerator / (denominator pi))."""
    return math.sqrt(numerator / (denominator * math.pi))
