"""Cameras equal threestudio's for the same seed: rays, matrices and lights, also those of N particles."""

from pathlib import Path

import pytest
import torch
from threestudio_rsd.extension import systems  # noqa: F401 registers particle-camera-datamodule

from . import camera_values
from .real_threestudio import run_in_threestudio


@pytest.fixture(scope="module")
def real_values(tmp_path_factory) -> dict[str, dict[str, torch.Tensor]]:
    output = tmp_path_factory.mktemp("cameras") / "cameras.pt"
    run_in_threestudio(Path(camera_values.__file__), str(output))
    return torch.load(output, weights_only=True)


@pytest.mark.parametrize("case", camera_values.CASES)
def test_same_batches_as_threestudio(case: str, real_values) -> None:
    ours, theirs = camera_values.values(case), real_values[case]
    assert set(ours) == set(theirs)
    for key, value in theirs.items():
        assert ours[key].shape == value.shape, key
        assert ours[key].dtype == value.dtype, key
        torch.testing.assert_close(ours[key], value, rtol=1e-4, atol=1e-4, msg=lambda text, key=key: f"{key}: {text}")
