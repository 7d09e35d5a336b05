"""`implicit-volume` equals threestudio's for the same weights: density, features and normals."""

import json
from pathlib import Path

import pytest
import torch

from . import geometry_values
from .real_threestudio import run_in_threestudio


@pytest.fixture(scope="module")
def real_values() -> dict[str, dict]:
    return json.loads(run_in_threestudio(Path(geometry_values.__file__)).splitlines()[-1])


@pytest.mark.parametrize("case", geometry_values.CASES)
def test_same_values_as_threestudio(case, real_values):
    ours = geometry_values.values(case)
    assert set(ours) == set(real_values[case])
    for name, value in ours.items():
        # Finite differences of single-precision densities have few digits.
        torch.testing.assert_close(torch.tensor(value), torch.tensor(real_values[case][name]), atol=1e-4, rtol=1e-4)
