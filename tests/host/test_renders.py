"""Renderer, materials and backgrounds equal threestudio's for the same weights."""

from pathlib import Path

import pytest
import torch
from threestudio_rsd import host

from .real_threestudio import run_in_threestudio
from .renders import MATERIALS, renders


@pytest.fixture(scope="module")
def real_renders(tmp_path_factory) -> dict[str, dict[str, torch.Tensor]]:
    output = tmp_path_factory.mktemp("renders") / "renders.pt"
    run_in_threestudio(Path(__file__).with_name("renders.py"), str(output))
    return torch.load(output, weights_only=True)


@pytest.mark.parametrize("name", MATERIALS)
def test_all_outputs_equal_those_of_threestudio(real_renders, name: str) -> None:
    ours, theirs = renders(host, name), real_renders[name]
    assert set(ours) == set(theirs)
    for key, value in theirs.items():
        assert ours[key].shape == value.shape, key
        assert torch.allclose(ours[key], value, atol=1e-5, rtol=1e-4), key
