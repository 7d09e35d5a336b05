"""Guidance that resumes on another device than the CPU, to which checkpoints load: here the meta device.

PyTorch refuses to mix tensors of the CPU with those of the meta device, as with those of a GPU.
"""

from typing import Any

import pytest
import torch
from threestudio_rsd.extension import prompt_processor  # noqa: F401 registers it
from threestudio_rsd.priors.noise_levels import noise_level

from .test_guidance import build, prompt_utils

HELD = {"gamma": 5.0, "kernel_input": "clean", "repulsion_refresh": 4}


def step(guidance: Any, number: int, latents: torch.Tensor) -> dict[str, Any]:
    front = torch.zeros(len(latents))
    guidance.update_step(0, number)
    rgb = latents.permute(0, 2, 3, 1)
    return guidance(rgb, prompt_utils(), front, front, front, rgb_as_latents=True)


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("repulsive-sds-guidance", HELD),
        pytest.param("repulsive-nfsd-guidance", HELD, marks=pytest.mark.slow),
        pytest.param("repulsive-vsd-guidance", HELD, marks=pytest.mark.slow),
        pytest.param("repulsive-vsd-guidance", {**HELD, "vsd_network": "unet"}, marks=pytest.mark.slow),
        ("repulsive-sds-guidance", {**HELD, "noise": "refreshed", "noise_refresh_rate": 0.1, "noise_coupled": True}),
        pytest.param("sdi-guidance", {"weighting_strategy": "snr", "inner_steps": 4}, marks=pytest.mark.slow),
        ("repulsive-sds-guidance", {"gamma": 5.0, "weighting_strategy": "snr", "inner_steps": 4}),
    ],
)
def test_resumed_step_uses_tensors_of_its_device_only(name: str, config: dict) -> None:
    first, second = (build(name, seed=1, **config) for _ in range(2))
    latents = torch.randn(3, 4, 16, 16)
    step(first, 0, latents)
    second.load_state_dict(first.state_dict())
    noise_level(second.prior, 0)  # reads the noise levels, which the meta device does not have
    second.prior.to("meta")
    second.to("meta")
    moved = latents.to("meta").requires_grad_()
    output = step(second, 1, moved)
    sum(value for key, value in output.items() if key.startswith("loss_")).backward()
    assert moved.grad.device.type == "meta"
