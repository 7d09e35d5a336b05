"""Options that make the force cheaper, called as threestudio's systems call the guidance."""

from pathlib import Path

import pytest
import torch
from threestudio_rsd.errors import UserError
from threestudio_rsd.extension import prompt_processor  # noqa: F401 registers it
from threestudio_rsd.repulsion import RepulsiveForce, load_features

from .test_guidance import build, call, prompt_utils

MISSING = "nobody/no-such-network"


@pytest.mark.parametrize(
    "config",
    [
        {"repulsion_interval": [1e6, 1e7]},
        {"repulsion_min_step_percent": 0.6, "repulsion_max_step_percent": 0.4},
        {"gamma": 0.0},
    ],
)
def test_force_that_never_acts_loads_no_network(config: dict) -> None:
    guidance = build(**{"gamma": 5.0, "features": MISSING, "feature_decoder": MISSING, **config})
    assert float(call(guidance, torch.randn(2, 4, 16, 16))["force_norm"]) == 0


def test_force_is_computed_at_its_steps_and_used_between_them() -> None:
    guidance = build(gamma=5.0, repulsion_refresh=2, kernel_input="clean")
    norms = []
    for step in range(4):
        guidance.update_step(0, step)
        norms.append(float(call(guidance, torch.randn(3, 4, 16, 16))["force_norm"]))
    assert norms[0] == norms[1] != norms[2] == norms[3]


def test_resumed_run_continues_with_the_held_force() -> None:
    first, second = (build(gamma=5.0, repulsion_refresh=2, kernel_input="clean", seed=1) for _ in range(2))
    latents = torch.randn(3, 4, 16, 16)
    call(first, latents)
    second.load_state_dict(first.state_dict())
    moved = (latents + 0.1 * torch.randn_like(latents)).requires_grad_()
    gradients = []
    for guidance in (first, second):
        guidance.update_step(0, 1)
        call(guidance, moved)["loss_sds"].backward()
        gradients.append(moved.grad.clone())
        moved.grad = None
    assert torch.equal(*gradients)


def test_renders_repel_each_other_without_a_decoder() -> None:
    rgb, front = torch.rand(2, 64, 64, 3), torch.zeros(2)
    gradients, outputs = [], []
    for gamma in (0.0, 4.0):
        leaf = rgb.clone().requires_grad_()
        guidance = build(gamma=gamma, kernel_input="clean", feature_decoder="render", seed=3)
        outputs.append(guidance(leaf, prompt_utils(), front, front, front))
        outputs[-1]["loss_sds"].backward()
        gradients.append(leaf.grad)
    sigma = guidance.prior.sigma(int(outputs[1]["timestep"]))
    force = RepulsiveForce(load_features("dino", bundled=True))(rgb.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    torch.testing.assert_close(gradients[1] - gradients[0], 4.0 * sigma**3 * force, rtol=1e-3, atol=1e-6)
    assert float(outputs[1]["force_norm"]) == pytest.approx(float(force.norm()), rel=1e-4)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"feature_decoder": "render"}, "kernel_input"),
        ({"feature_decoder": "liner"}, "feature_decoder='liner'"),
        ({"repulsion_refresh": 0}, "repulsion_refresh"),
        ({"repulsion_refresh": 2, "repulsion_every": 2}, "exclude each other"),
    ],
)
def test_impossible_options_are_refused(config: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(gamma=1.0, **config)


def test_options_that_do_not_fit_the_batch_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="particles are latents"):
        call(build(gamma=1.0, kernel_input="clean", feature_decoder="render"), torch.randn(2, 4, 16, 16))
    with pytest.raises(UserError, match="cameras move"):
        call(build(gamma=1.0, repulsion_refresh=2), torch.randn(2, 4, 16, 16), c2w=torch.eye(4).expand(2, 4, 4))


def test_channels_last_changes_nothing_but_rounding() -> None:
    latents = torch.randn(2, 4, 16, 16)
    norms = [call(build(gamma=5.0, channels_last=kind, seed=2), latents) for kind in (False, True)]
    assert float(norms[1]["grad_norm"]) == pytest.approx(float(norms[0]["grad_norm"]), rel=1e-3)
