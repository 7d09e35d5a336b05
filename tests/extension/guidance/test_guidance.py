"""The registered guidance modules, called as threestudio's systems call them."""

from typing import Any

import pytest
import torch
from threestudio_rsd.distillation import SDS, RepulsiveDistillation
from threestudio_rsd.errors import UserError
from threestudio_rsd.extension import prompt_processor  # noqa: F401 registers it
from threestudio_rsd.extension.guidance.base import RepulsiveGuidance
from threestudio_rsd.host import find
from threestudio_rsd.particles import particle_noise

NAMES = {
    "repulsive-sds-guidance": "loss_sds",
    "repulsive-vsd-guidance": "loss_vsd",
    "repulsive-nfsd-guidance": "loss_nfsd",
    "svgd-guidance": "loss_svgd",
}


def build(name: str = "repulsive-sds-guidance", **config: Any) -> RepulsiveGuidance:
    torch.manual_seed(5)
    return find(name)({"view_dependent_prompting": False, **config})


def prompt_utils(prompt: str = "a mushroom", **config: Any) -> Any:
    return find("rsd-prompt-processor")({"prompt": prompt, "spawn": False, **config})()


def call(guidance: RepulsiveGuidance, latents: torch.Tensor, **options: Any) -> dict[str, Any]:
    front = torch.zeros(len(latents))
    rgb = latents.permute(0, 2, 3, 1)
    return guidance(
        rgb, prompt_utils(), elevation=front, azimuth=front, camera_distances=front, rgb_as_latents=True, **options
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n", [1, 3])
def test_losses_are_finite_and_have_a_gradient(name: str, n: int) -> None:
    gamma = 0.0 if name == "svgd-guidance" else 10.0
    latents = torch.randn(n, 4, 16, 16, requires_grad=True)
    output = call(build(name, gamma=gamma), latents, mvp_mtx=None, c2w=None)
    sum(value for key, value in output.items() if key.startswith("loss_")).backward()
    assert NAMES[name] in output
    assert latents.grad.isfinite().all()
    assert latents.grad.abs().sum() > 0


def test_gradient_equals_that_of_repulsive_distillation(bundled) -> None:
    guidance = build(gamma=0.0)
    latents = torch.randn(3, 4, 16, 16, requires_grad=True)
    output = call(guidance, latents)
    output["loss_sds"].backward()
    t = int(output["timestep"])
    noise = particle_noise(5, "noise", 0, 3, (4, 16, 16))
    expected = RepulsiveDistillation(SDS(bundled, 7.5))(latents, t, noise, bundled.embed("a mushroom")).gradient
    assert torch.equal(latents.grad, expected)
    assert output["loss_sds"].item() == pytest.approx(0.5 * expected.square().sum().item(), rel=1e-5)


def test_gamma_zero_loads_no_feature_network() -> None:
    guidance = build(gamma=0, features="nobody/no-such-network")
    call(guidance, torch.randn(2, 4, 16, 16))


def test_gradient_of_a_particle_does_not_depend_on_n() -> None:
    latents = torch.randn(4, 4, 16, 16)
    gradients = []
    for n in (2, 4):
        leaf = latents[:n].clone().requires_grad_()
        call(build(), leaf)["loss_sds"].backward()
        gradients.append(leaf.grad[:2])
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)


def test_mean_reduction_divides_by_the_batch() -> None:
    latents = torch.randn(4, 4, 16, 16)
    total, mean = (call(build(loss_reduction=kind), latents)["loss_sds"] for kind in ("sum", "mean"))
    torch.testing.assert_close(total / 4, mean)


def test_force_acts_only_in_its_interval_and_at_its_steps() -> None:
    latents = torch.randn(3, 4, 16, 16)
    guidance = build(
        gamma=5.0, repulsion_every=2, repulsion_max_step_percent=0.5, timestep_schedule="descending", total_steps=100
    )
    acted = {}
    for step in (0, 60, 61, 62):
        guidance.update_step(0, step)
        acted[step] = float(call(guidance, latents)["force_norm"]) > 0
    assert acted == {0: False, 60: True, 61: False, 62: True}


def test_gamma_can_be_annealed() -> None:
    guidance = build(gamma=[0, 40.0, 0.0, 100])
    values = []
    for step in (0, 50, 100, 200):
        guidance.update_step(0, step)
        values.append(guidance.gamma)
    assert values == [40.0, 20.0, 0.0, 0.0]


def test_images_are_encoded_and_get_a_gradient() -> None:
    rgb = torch.rand(2, 32, 32, 3, requires_grad=True)
    front = torch.zeros(2)
    build(gamma=1.0)(rgb, prompt_utils(), front, front, front)["loss_sds"].backward()
    assert rgb.grad.abs().sum() > 0


def test_gradients_can_be_clipped() -> None:
    latents = torch.randn(2, 4, 16, 16, requires_grad=True)
    call(build(grad_clip=0.01), latents)["loss_sds"].backward()
    assert latents.grad.abs().max() <= 0.01


def test_nfsd_uses_both_the_negative_and_the_empty_prompt() -> None:
    latents = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    front = torch.zeros(2)
    norms = []
    for negative in ("", "a car"):
        guidance = build("repulsive-nfsd-guidance", min_step_percent=0.5, max_step_percent=0.5)
        output = guidance(
            latents.permute(0, 2, 3, 1),
            prompt_utils(negative_prompt=negative),
            front,
            front,
            front,
            rgb_as_latents=True,
        )
        norms.append(float(output["direction_norm"]))
    assert norms[0] != pytest.approx(norms[1], rel=1e-5)


class TestPerpNeg:
    @staticmethod
    def output(name: str, rgb: torch.Tensor, prompts: Any, **config: Any) -> dict[str, Any]:
        guidance = build(name, view_dependent_prompting=True, **config)
        azimuth = torch.tensor([0.0, 60.0, 180.0])
        return guidance(rgb, prompts, torch.zeros(3), azimuth, torch.ones(3), rgb_as_latents=True)

    @pytest.mark.parametrize("name", NAMES)
    def test_perp_neg_changes_the_gradient_of_every_method(self, name: str) -> None:
        gradients = []
        for use_perp_neg in (False, True):
            rgb = torch.randn(3, 16, 16, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
            self.output(name, rgb, prompt_utils(use_perp_neg=use_perp_neg))[NAMES[name]].backward()
            gradients.append(rgb.grad)
        plain, steered = gradients
        assert steered.isfinite().all()
        assert (steered - plain).norm() > 1e-3 * plain.norm()

    def test_zero_weights_equal_plain_guidance_at_front_and_back(self) -> None:
        """Front and back only: at other azimuths the prompt is interpolated between two directions."""
        guidance = build(view_dependent_prompting=True)
        rgb, azimuth = torch.randn(2, 16, 16, 4), torch.tensor([0.0, 180.0])
        losses = []
        for use_perp_neg in (False, True):
            prompts = prompt_utils(use_perp_neg=use_perp_neg)
            for key in ("f_sb", "f_fsb", "f_fs", "f_sf"):
                setattr(prompts, f"perp_neg_{key}", (0.0, 0.0, 0.0))
            views = (torch.zeros(2), azimuth, torch.ones(2))
            losses.append(guidance(rgb, prompts, *views, rgb_as_latents=True)["loss_sds"])
        torch.testing.assert_close(*losses, rtol=1e-4, atol=0)

    def test_only_perp_neg_adds_negatives_to_the_batch_of_the_prior(self, monkeypatch) -> None:
        seen = []
        guidance = build(view_dependent_prompting=True)
        ask = guidance.prior.raw_predict
        monkeypatch.setattr(guidance.prior, "raw_predict", lambda x, t, text: seen.append(len(x)) or ask(x, t, text))
        for use_perp_neg in (False, True):
            call_views = (torch.zeros(3), torch.zeros(3), torch.ones(3))
            prompts = prompt_utils(use_perp_neg=use_perp_neg)
            guidance(torch.randn(3, 16, 16, 4), prompts, *call_views, rgb_as_latents=True)
        assert seen == [6, 12]

    def test_eps_phi_gets_no_negative_prompts(self, monkeypatch) -> None:
        seen = []
        guidance = build("repulsive-vsd-guidance", view_dependent_prompting=True)
        ask = guidance.prior.raw_predict
        monkeypatch.setattr(guidance.prior, "raw_predict", lambda x, t, text: seen.append(len(x)) or ask(x, t, text))
        front = torch.zeros(3)
        guidance(torch.randn(3, 16, 16, 4), prompt_utils(use_perp_neg=True), front, front, front, rgb_as_latents=True)
        assert seen == [12, 3, 3]  # the prior; eps_phi in the direction; eps_phi in its training

    def test_perp_neg_requires_view_dependent_prompting(self) -> None:
        prompts = prompt_utils(use_perp_neg=True)
        with pytest.raises(UserError, match=r"use_perp_neg=True.*view_dependent_prompting=True"):
            build()(torch.randn(1, 16, 16, 4), prompts, *torch.zeros(3, 1), rgb_as_latents=True)
        with pytest.raises(UserError, match="view_dependent_prompting=True"):
            prompts.get_text_embeddings_perp_neg(*torch.zeros(3, 1), view_dependent_prompting=False)


class TestCameraCondition:
    @staticmethod
    def call_with_cameras(guidance: RepulsiveGuidance, **batch: Any) -> dict[str, Any]:
        torch.manual_seed(1)
        cameras = {"c2w": torch.randn(2, 4, 4), "mvp_mtx": torch.randn(2, 4, 4)}
        return call(guidance, torch.randn(2, 4, 16, 16), **{**cameras, **batch})

    @pytest.mark.parametrize(("condition", "matrix"), [("extrinsics", "c2w"), ("mvp", "mvp_mtx")])
    def test_eps_phi_is_conditioned_on_the_configured_matrix(self, condition: str, matrix: str) -> None:
        guidance = build("repulsive-vsd-guidance", camera_condition=condition, lora_cfg_training=False)
        weight = guidance.method.camera.layers[2].weight
        self.call_with_cameras(guidance)["loss_lora"].backward()
        gradient = weight.grad.clone()
        weight.grad = None
        self.call_with_cameras(guidance, **{matrix: torch.eye(4).repeat(2, 1, 1)})["loss_lora"].backward()
        assert gradient.abs().sum() > 0
        assert not torch.allclose(weight.grad, gradient)

    def test_checkpoints_contain_the_camera_embedding(self) -> None:
        names = build("repulsive-vsd-guidance", camera_condition="mvp").state_dict()
        assert any(name.startswith("method.camera.") for name in names)
        assert all("lora" in name or "camera" in name for name in names)

    def test_prompt_of_eps_phi_has_no_view_direction(self) -> None:
        guidance = build("repulsive-vsd-guidance", camera_condition="mvp", view_dependent_prompting=True)
        front = torch.zeros(1)
        views = guidance.cameras(prompt_utils(), front, front + 180, front, {"mvp_mtx": torch.zeros(1, 4, 4)})
        assert torch.equal(views.embedding.conditional, guidance.prior.embed("a mushroom").conditional)

    def test_without_condition_cameras_have_no_effect(self) -> None:
        with_cameras = self.call_with_cameras(build("repulsive-vsd-guidance"))
        without = self.call_with_cameras(build("repulsive-vsd-guidance"), c2w=None, mvp_mtx=None)
        assert all(torch.equal(with_cameras[name], without[name]) for name in ("loss_vsd", "loss_lora"))

    @pytest.mark.parametrize(
        ("config", "batch", "message"),
        [
            ({"camera_condition": "pose"}, {}, "camera_condition='pose'.*extrinsics, mvp"),
            ({"camera_condition": "mvp"}, {"mvp_mtx": None}, "camera_condition='mvp'.*null"),
            ({"guidance_scale_lora": 2.0}, {}, "guidance_scale_lora=2.0"),
        ],
    )
    def test_invalid_values_raise_user_error(self, config: dict[str, Any], batch: dict[str, Any], message: str) -> None:
        with pytest.raises(UserError, match=message):
            self.call_with_cameras(build("repulsive-vsd-guidance", **config), **batch)


def test_state_dicts_do_not_contain_the_prior() -> None:
    assert list(build().state_dict()) == []
    assert all("lora" in name for name in build("repulsive-vsd-guidance").state_dict())


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"gamma": "strong"}, "gamma='strong'.*schedule"),
        ({"gamma": -1.0}, "gamma=-1.0.*at least 0"),
        ({"gamma": float("nan")}, "gamma=nan"),
        ({"gamma": 1.0, "features": "dyno"}, "features='dyno'.*dinov2"),
        ({"gamma": 1.0, "features": "nobody/no-such-network"}, "nobody/no-such-network"),
        ({"kernel_input": "blurred"}, "kernel_input='blurred'.*denoised"),
        ({"prior_type": "flax"}, "prior_type='flax'.*deep-floyd"),
        ({"pretrained_model_name_or_path": "nobody/no-such-model"}, "nobody/no-such-model.*bundled"),
        ({"timestep_schedule": "descending"}, "total_steps"),
        ({"min_step_percent": 0.9, "max_step_percent": 0.1}, "min_step_percent"),
        ({"max_step_percent": 1.5}, "max_step_percent=1.5"),
        ({"repulsion_every": 0}, "repulsion_every=0"),
        ({"guidance_scale": -7.5}, "guidance_scale=-7.5"),
        ({"bandwidth": 0}, "bandwidth=0|gamma"),
        ({"gama": 1.0}, "gama.*gamma"),
    ],
)
def test_invalid_config_values_raise_user_error(config: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        call(build(**{"gamma": 1.0, **config}), torch.randn(2, 4, 16, 16))


@pytest.mark.parametrize("config", [{"prompt": ""}, {"prompt": "  "}, {"prompt": "x", "prior_type": "vae"}])
def test_invalid_prompts_raise_user_error(config: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        find("rsd-prompt-processor")({"spawn": False, **config})


def test_force_compares_particles_within_each_view() -> None:
    """Three particles in two views: the gradients are those of two guidance calls of three images each."""
    guidance = build(gamma=30.0, kernel_input="clean")
    latents = torch.randn(3, 2, 4, 16, 16)
    flat = latents.flatten(0, 1).requires_grad_()
    output = call(guidance, flat, n_particles=3, views_per_particle=2)
    output["loss_sds"].backward()
    force = guidance.distillation.force
    expected = torch.stack([force(latents[:, view]) for view in range(2)], 1)
    base = build(gamma=0.0)
    alone = latents.flatten(0, 1).requires_grad_()
    call(base, alone, n_particles=3, views_per_particle=2)["loss_sds"].backward()
    t = int(output["timestep"])
    scale = 30.0 * guidance.prior.sigma(t) * guidance.prior.sigma(t) ** 2 / 2  # w(t) of sds, mean over two views
    torch.testing.assert_close((flat.grad - alone.grad).view_as(expected), scale * expected, rtol=1e-3, atol=1e-5)


def test_one_particle_in_several_views_is_not_repelled() -> None:
    latents = torch.randn(3, 4, 16, 16)
    assert float(call(build(gamma=30.0), latents, n_particles=1, views_per_particle=3)["force_norm"]) == 0
    assert float(call(build(gamma=30.0), latents)["force_norm"]) > 0  # by default each row is a particle


def test_invalid_numbers_of_views_raise_user_error() -> None:
    with pytest.raises(UserError, match="views_per_particle=2 does not divide the 3 views"):
        call(build(), torch.randn(3, 4, 16, 16), views_per_particle=2)
    with pytest.raises(UserError, match=r"views_per_particle=2 is impossible.*one view per particle"):
        call(build("svgd-guidance"), torch.randn(4, 4, 16, 16), views_per_particle=2)
