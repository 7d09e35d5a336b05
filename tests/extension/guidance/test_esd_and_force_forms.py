"""`esd-guidance`, and `force_form` of the guidance modules."""

from typing import Any

import pytest
import torch
from threestudio_rsd.errors import UserError
from threestudio_rsd.extension.guidance.base import RepulsiveGuidance
from threestudio_rsd.repulsion import RepulsiveForce

from tests.extension.guidance.test_guidance import build, call


def loss_gradients(guidance: RepulsiveGuidance, loss: str) -> torch.Tensor:
    latents = torch.randn(3, 4, 16, 16, generator=torch.Generator().manual_seed(0)).requires_grad_()
    call(guidance, latents)[loss].backward()
    return latents.grad


@pytest.mark.slow
def test_esd_of_entropy_weight_0_is_bit_identical_to_sds() -> None:
    esd = loss_gradients(build("esd-guidance", entropy_weight=0.0), "loss_esd")
    assert torch.equal(esd, loss_gradients(build("repulsive-sds-guidance"), "loss_sds"))


@pytest.mark.slow
def test_esd_of_entropy_weight_1_equals_vsd() -> None:
    esd = loss_gradients(build("esd-guidance", entropy_weight=1.0), "loss_esd")
    torch.testing.assert_close(esd, loss_gradients(build("repulsive-vsd-guidance"), "loss_vsd"))


def test_esd_with_cameras_trains_all_parameters_of_eps_phi() -> None:
    guidance = build("esd-guidance", camera_condition="extrinsics")
    output = call(guidance, torch.randn(2, 4, 16, 16), c2w=torch.randn(2, 4, 4))
    output["loss_lora"].backward()
    assert all(parameter.grad is not None for parameter in guidance.method.parameters())


def test_force_form_order_two_uses_the_order_two_force() -> None:
    guidance = build(gamma=10.0, force_form="order_two", features="euclidean", kernel_input="clean")
    latents = torch.randn(3, 4, 16, 16)
    force = RepulsiveForce("euclidean", decode=lambda x: guidance.prior.decode(x, clamp=False), form="order_two")(
        latents
    )
    assert float(call(guidance, latents)["force_norm"]) == pytest.approx(float(force.norm()), rel=1e-4)


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("esd-guidance", {"entropy_weight": 2.0}, "entropy_weight=2.0.*from 0 to 1"),
        ("esd-guidance", {"guidance_scale_lora": 0.5}, "guidance_scale_lora=0.5.*accepted: 1"),
        ("esd-guidance", {"camera_condition": "mvp", "lora_cfg_training": False}, "lora_cfg_training=False.*true"),
        ("esd-guidance", {"camera_condition": "pose"}, "camera_condition='pose'.*mvp"),
        ("repulsive-sds-guidance", {"force_form": "order_three"}, "force_form='order_three'.*order_two"),
    ],
)
def test_invalid_values_raise_user_error(name: str, config: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(name, **config)
