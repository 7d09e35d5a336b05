"""threestudio's guidance modules, registered on the standalone host, against threestudio's formulas."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from threestudio_rsd.errors import UserError
from threestudio_rsd.extension import threestudio_dreamfusion  # noqa: F401 registers
from threestudio_rsd.extension.prompt_embedding import embedding_of_views
from threestudio_rsd.finite import StepCheck
from threestudio_rsd.host import find

from tests.tiny_models import tiny_deep_floyd, tiny_stable_diffusion

KINDS = ("stable-diffusion", "deep-floyd")
FRONT = torch.zeros(2)


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("models")
    return {
        "stable-diffusion": tiny_stable_diffusion(folder / "sd"),
        "deep-floyd": tiny_deep_floyd(folder / "if"),
    }


@pytest.fixture
def build(models):
    def make(kind: str, **config: Any) -> Any:
        return find(f"{kind}-guidance")({"pretrained_model_name_or_path": models[kind], **config})

    return make


@pytest.fixture
def prompt_utils(models):
    def make(kind: str, **config: Any) -> Any:
        if kind == "deep-floyd":
            pytest.importorskip("sentencepiece")
        processor = find(f"{kind}-prompt-processor")
        return processor({"pretrained_model_name_or_path": models[kind], "prompt": "a mushroom", **config})()

    return make


def step(guidance: Any, rgb: torch.Tensor, prompts: Any, **options: Any) -> dict[str, Any]:
    torch.manual_seed(3)
    return guidance(rgb, prompts, FRONT, FRONT + 180, FRONT + 1.5, **options)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weighting", ["sds", "uniform", "fantasia3d"])
def test_gradient_equals_threestudios_formula(build, prompt_utils, kind: str, weighting: str) -> None:
    """Gradient: w(t) (text + s (text - unconditional) - noise) with a t per view, divided by the number of views."""
    guidance, prompts = build(kind, guidance_scale=5.0, weighting_strategy=weighting), prompt_utils(kind)
    prior = guidance.prior
    rgb = torch.rand(2, 12, 12, 3, requires_grad=True)
    output = step(guidance, rgb, prompts)
    output["loss_sds"].backward()

    again = rgb.detach().clone().requires_grad_()
    torch.manual_seed(3)
    images = F.interpolate(again.permute(0, 3, 1, 2), (prior.image_size,) * 2, mode="bilinear")
    if kind == "stable-diffusion":
        latents = prior.vae.encode(images * 2 - 1).latent_dist.sample() * prior.vae.config.scaling_factor
    else:
        latents = images * 2 - 1
    t = torch.randint(20, 981, [2])
    noise = torch.randn_like(latents)
    signal = prior.alphas_cumprod[t].reshape(2, 1, 1, 1)
    x_t = signal.sqrt() * latents + (1 - signal).sqrt() * noise
    text = prompts.text_embeddings_vd[prompts.direction2idx["back"]].expand(2, -1, -1)
    empty = prompts.uncond_text_embeddings.expand(2, -1, -1)
    with torch.no_grad():
        given, free = (prior.unet(x_t, t, part).sample[:, : x_t.shape[1]] for part in (text, empty))
    weight = {"sds": 1 - signal, "uniform": 1, "fantasia3d": signal.sqrt() * (1 - signal)}[weighting]
    expected = weight * (given + 5.0 * (given - free) - noise)
    latents.backward(expected.detach() / 2)
    torch.testing.assert_close(rgb.grad, again.grad, rtol=1e-4, atol=1e-5)
    assert output["loss_sds"].item() == pytest.approx(expected.square().sum().item() / 4, rel=1e-4)
    assert (output["min_step"], output["max_step"]) == (20, 980)


def test_perp_neg_scales_the_prompt_once_as_threestudio_does(build, prompt_utils) -> None:
    prompts = prompt_utils("deep-floyd", use_perp_neg=True)
    guidance = build("deep-floyd", guidance_scale=5.0, weighting_strategy="uniform")
    rgb = torch.rand(2, 16, 16, 3, requires_grad=True)
    step(guidance, rgb, prompts)["loss_sds"].backward()
    torch.manual_seed(3)
    t = torch.randint(20, 981, [2])
    x_0 = rgb.detach().permute(0, 3, 1, 2) * 2 - 1
    noise = torch.randn_like(x_0)
    prior = guidance.prior
    embedding = embedding_of_views(prompts, FRONT, FRONT + 180, FRONT + 1.5, True, prior.device)
    predictions = prior.noise_predictions(prior.alpha(t) * x_0 + prior.sigma(t) * noise, t, embedding)
    direction = predictions.unconditional + 5.0 * predictions.condition - noise
    torch.testing.assert_close(rgb.grad, direction.permute(0, 2, 3, 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_schedules_follow_the_step(build, prompt_utils, kind: str) -> None:
    guidance = build(kind, min_step_percent=[0, 0.02, 0.4, 10], max_step_percent=0.5, grad_clip=[0, 1.0, 1e-3, 10])
    guidance.update_step(0, 10)
    rgb = torch.rand(2, 16, 16, 3)
    output = step(guidance, rgb, prompt_utils(kind))
    assert (output["min_step"], output["max_step"]) == (400, 500)
    assert output["grad_norm"] <= 1e-3 * (2 * 4 * 16 * 16) ** 0.5


def test_square_root_annealing_ends_at_the_lowest_timestep(build) -> None:
    guidance = build("stable-diffusion", sqrt_anneal=True, trainer_max_steps=100)
    seen = []
    for at in (0, 25, 100):
        guidance.update_step(0, at)
        assert guidance.min_step == guidance.max_step
        seen.append(guidance.min_step)
    assert seen == [980, 500, 20]


def test_latents_are_used_without_encoding(build, prompt_utils) -> None:
    rgb = torch.randn(2, 8, 8, 4, requires_grad=True)
    step(build("stable-diffusion"), rgb, prompt_utils("stable-diffusion"), rgb_as_latents=True)["loss_sds"].backward()
    assert rgb.grad.abs().sum() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_that_is_not_finite_is_named(build, prompt_utils, kind: str) -> None:
    guidance, prompts = build(kind), prompt_utils(kind)
    rgb = torch.rand(2, 12, 12, 3)
    rgb[1] = float("nan")
    with StepCheck(step=4).active() as check:
        step(guidance, rgb, prompts)
    assert "Step 4: the gradient of view 1 is nan at t=" in str(check.failure())


@pytest.mark.parametrize("kind", KINDS)
def test_memory_keys_are_accepted(build, prompt_utils, kind: str) -> None:
    keys = ("memory_efficient_attention", "sequential_cpu_offload", "attention_slicing", "channels_last_format")
    guidance = build(kind, **{f"enable_{key}": True for key in keys})
    assert step(guidance, torch.rand(2, 16, 16, 3), prompt_utils(kind))["loss_sds"].isfinite()


@pytest.mark.parametrize(
    ("kind", "config", "message"),
    [
        ("stable-diffusion", {"use_sjc": True}, "use_sjc=True"),
        ("stable-diffusion", {"use_img_loss": True}, "use_img_loss=True"),
        ("stable-diffusion", {"token_merging": True}, "token_merging=True"),
        ("stable-diffusion", {"weighting_strategy": "snr"}, "weighting_strategy='snr'.*fantasia3d"),
        ("deep-floyd", {"min_step_percent": 0.9, "max_step_percent": 0.1}, "min_step_percent=0.9"),
        ("deep-floyd", {"max_step_percent": 1.5}, "max_step_percent=1.5"),
        ("deep-floyd", {"sqrt_anneal": True}, "sqrt_anneal"),
        ("deep-floyd", {"pretrained_model_name_or_path": "nobody/nothing"}, "nobody/nothing"),
    ],
)
def test_unsupported_settings_raise_user_error(build, kind: str, config: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(kind, **config)


def test_pixel_guidance_rejects_latents(build, prompt_utils) -> None:
    with pytest.raises(UserError, match="rgb_as_latents"):
        step(build("deep-floyd"), torch.rand(2, 16, 16, 3), prompt_utils("deep-floyd"), rgb_as_latents=True)


def test_defaults_equal_threestudios() -> None:
    expected = {"stable-diffusion": (100.0, 0.02, 0.98, "sds", True), "deep-floyd": (20.0, 0.02, 0.98, "sds", True)}
    for kind, values in expected.items():
        config = find(f"{kind}-guidance").Config()
        assert values == (
            config.guidance_scale,
            config.min_step_percent,
            config.max_step_percent,
            config.weighting_strategy,
            config.half_precision_weights,
        )
