"""`repulsive-guidance` around guidance of threestudio's kind."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from threestudio_rsd.errors import UserError
from threestudio_rsd.extension import guidance, threestudio_dreamfusion  # noqa: F401 registers
from threestudio_rsd.host import BaseObject, find, register
from threestudio_rsd.repulsion import RBFKernel, RepulsiveForce, load_features

VIEWS = {name: torch.zeros(4) for name in ("elevation", "azimuth", "camera_distances")}


@register("camera-guidance-of-a-test")
class CameraGuidance(BaseObject):
    """Guidance of a multi-view model: it needs cameras, and takes no other entries of a batch."""

    @dataclass
    class Config(BaseObject.Config):
        pull: float = 1.0

    cfg: Config

    def configure(self) -> None:
        self.step = 0

    def update_step(self, epoch: int, global_step: int, on_load_weights: bool = False) -> None:
        self.step = global_step

    def __call__(
        self,
        rgb: torch.Tensor,
        prompt_utils: Any,
        elevation: Any,
        azimuth: Any,
        camera_distances: Any,
        c2w: torch.Tensor,
    ) -> dict[str, Any]:
        target = c2w[:, :3, 3].mean(1)[:, None, None, None]
        return {"loss_sds": self.cfg.pull * (rgb - target).square().sum() / len(rgb), "grad_norm": torch.ones(())}


def build(**config: Any) -> Any:
    wrapped = {"guidance_type": "camera-guidance-of-a-test", "guidance": {"pull": 0.5}, "features": "euclidean"}
    return find("repulsive-guidance")({**wrapped, **config})


def gradient(module: Any, rgb: torch.Tensor, **batch: Any) -> tuple[torch.Tensor, dict[str, Any]]:
    """Gradient of the loss in images, and the output."""
    leaf = rgb.clone().requires_grad_()
    output = module(leaf, None, **VIEWS, c2w=torch.eye(4).expand(4, 4, 4), **batch)
    output["loss_sds"].backward()
    return leaf.grad, output


def test_without_gamma_it_is_the_guidance_itself() -> None:
    rgb = torch.rand(4, 8, 8, 3)
    plain = find("camera-guidance-of-a-test")({"pull": 0.5})
    assert torch.equal(gradient(build(), rgb, views_per_particle=2, opacity=rgb)[0], gradient(plain, rgb)[0])
    assert build().force is None


@pytest.mark.parametrize("views", [1, 2])
def test_the_force_is_added_between_particles_view_by_view(views: int) -> None:
    rgb = torch.rand(4, 8, 8, 3)
    plain = gradient(build(), rgb)[0]
    added = (gradient(build(gamma=3.0), rgb, views_per_particle=views)[0] - plain) * 4
    images = rgb.permute(0, 3, 1, 2)
    force = RepulsiveForce(load_features("euclidean"), RBFKernel("median"))
    expected = force(images) if views == 1 else torch.stack([force(images[i::2]) for i in (0, 1)], 1).flatten(0, 1)
    assert torch.allclose(added, 3.0 * expected.permute(0, 2, 3, 1), atol=1e-5)


def test_a_relative_force_has_gamma_times_the_norm_of_the_gradient() -> None:
    rgb = torch.rand(4, 8, 8, 3)
    plain = gradient(build(), rgb)[0]
    added = gradient(build(gamma=0.5, force_scale="relative"), rgb)[0] - plain
    assert torch.allclose(added.flatten(1).norm(dim=1), 0.5 * plain.flatten(1).norm(dim=1), rtol=1e-3)


def test_schedules_and_attributes_reach_the_wrapped_guidance() -> None:
    module = build(gamma=[0, 0.0, 4.0, 10], repulsion_every=2)
    module.do_update_step(0, 5)
    assert module.gamma == 2.0
    assert module.inner.step == 5
    rgb = torch.rand(4, 8, 8, 3)
    assert "force_norm" not in gradient(module, rgb)[1]  # step 5 is odd
    module.do_update_step(0, 6)
    assert "force_norm" in gradient(module, rgb)[1]


def test_mistakes_are_one_sentence() -> None:
    rgb = torch.rand(4, 8, 8, 3)
    with pytest.raises(UserError, match="wraps itself"):
        build(guidance_type="repulsive-guidance")
    with pytest.raises(UserError, match="force_scale='large' is unknown; accepted: constant, relative"):
        build(force_scale="large")
    with pytest.raises(UserError, match="views_per_particle=3 does not divide the 4 views"):
        gradient(build(gamma=1.0), rgb, views_per_particle=3)
    with pytest.raises(UserError, match="compares images, and the guidance is given latents"):
        gradient(build(gamma=1.0), torch.rand(4, 8, 8, 4))
