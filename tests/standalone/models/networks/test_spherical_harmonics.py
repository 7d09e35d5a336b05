"""Spherical harmonics are orthonormal, and have the signs and the order of tiny-cuda-nn."""

import math

import pytest
import torch
from threestudio_rsd.errors import UserError
from threestudio_rsd.standalone.models.networks import get_encoding
from threestudio_rsd.standalone.models.networks.spherical_harmonics import SphericalHarmonics, spherical_harmonics


def random_directions(n):
    return torch.nn.functional.normalize(torch.randn(n, 3, dtype=torch.float64), dim=-1)


def test_harmonics_are_orthonormal_on_the_sphere():
    values = spherical_harmonics(random_directions(200_000), 4)
    products = 4 * math.pi * values.T @ values / len(values)
    torch.testing.assert_close(products, torch.eye(16, dtype=torch.float64), atol=0.03, rtol=0)


def test_each_band_has_the_same_power_in_every_direction():
    values = spherical_harmonics(random_directions(100), 4)
    for degree in range(4):  # Unsoeld's theorem
        power = (values[:, degree**2 : (degree + 1) ** 2] ** 2).sum(1)
        torch.testing.assert_close(power, torch.full_like(power, (2 * degree + 1) / (4 * math.pi)))


def test_order_and_signs():
    x, y, z = torch.eye(3)
    first = spherical_harmonics(torch.stack([x, y, z]), 2)
    expected = [[0, 0, -1], [-1, 0, 0], [0, 1, 0]]
    torch.testing.assert_close(first[:, 1:], math.sqrt(3 / (4 * math.pi)) * torch.tensor(expected).float())
    bands = spherical_harmonics(torch.nn.functional.normalize(torch.tensor([0.3, 0.4, 0.9]), dim=0), 4)
    signs = [1, -1, 1, -1, 1, -1, 1, -1, -1, -1, 1, -1, 1, -1, -1, 1]
    assert bands.sign().tolist() == signs


@pytest.mark.parametrize("degree", [1, 2, 3, 4])
def test_encoding_takes_directions_moved_into_the_unit_cube(degree):
    directions = random_directions(5).float()
    encoding = get_encoding(3, {"otype": "SphericalHarmonics", "degree": degree})
    assert encoding.n_output_dims == degree**2
    torch.testing.assert_close(encoding((directions + 1) / 2), spherical_harmonics(directions, degree))


@pytest.mark.parametrize("arguments", [{"degree": 5}, {"degree": 0}, {"degree": "three"}, {"n_input_dims": 2}])
def test_impossible_settings_are_named(arguments):
    with pytest.raises(UserError, match="SphericalHarmonics"):
        SphericalHarmonics(**arguments)
