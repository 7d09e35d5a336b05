"""`repulsive-guidance` around the guidance of threestudio-mvdream, if threestudio's custom/ has a checkout of it."""

import os
from pathlib import Path

import pytest
import torch
from threestudio_rsd.distillation import force_by_view
from threestudio_rsd.repulsion import RBFKernel, RepulsiveForce, load_features

from . import mvdream_gradients
from .mvdream_gradients import GAMMA, VIEWS, images
from .real_threestudio import run_in_threestudio

GUIDANCE = Path("custom", "threestudio-mvdream", "guidance", "mvdream_guidance.py")


@pytest.fixture(scope="module")
def gradients(tmp_path_factory) -> dict[str, torch.Tensor]:
    file = Path(os.environ.get("THREESTUDIO_ROOT", "/nonexistent")) / GUIDANCE
    if not file.is_file():
        pytest.skip("THREESTUDIO_ROOT has no custom/threestudio-mvdream")
    output = tmp_path_factory.mktemp("mvdream") / "gradients.pt"
    run_in_threestudio(Path(mvdream_gradients.__file__), str(file), str(output))
    return torch.load(output, weights_only=True)


def test_a_wrapped_multi_view_guidance_is_itself_without_gamma(gradients) -> None:
    assert gradients["plain"].abs().sum() > 0
    assert torch.equal(gradients["gamma 0"], gradients["plain"])


def test_objects_repel_each_other_view_by_view(gradients) -> None:
    rgb = images()
    force = RepulsiveForce(load_features("euclidean"), RBFKernel("median"))
    expected = GAMMA * force_by_view(force, rgb.permute(0, 3, 1, 2), VIEWS).permute(0, 2, 3, 1) / len(rgb)
    added = gradients[f"gamma {GAMMA:g}"] - gradients["plain"]
    assert expected.norm() > 0
    torch.testing.assert_close(added, expected, atol=1e-6, rtol=1e-4)
