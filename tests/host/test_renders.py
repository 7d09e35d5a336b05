"""threestudio's renderer, materials and backgrounds and ours of the same names: same weights in, same images out."""

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
def test_everything_that_is_rendered_is_that_of_the_real_one(real_renders, name: str) -> None:
    ours, theirs = renders(host, name), real_renders[name]
    assert set(ours) == set(theirs)
    for key, value in theirs.items():
        assert ours[key].shape == value.shape, key
        assert torch.allclose(ours[key], value, atol=1e-5, rtol=1e-4), key
