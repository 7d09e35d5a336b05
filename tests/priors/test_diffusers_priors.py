"""Priors from diffusers pipelines: tiny random ones and the bundled one."""

from pathlib import Path

import pytest
import torch
from threestudio_rsd.errors import UserError
from threestudio_rsd.files import data_path
from threestudio_rsd.particles import particle_noise
from threestudio_rsd.priors import DeepFloydPrior, PromptEmbedding, StableDiffusionPrior, load_prior, sample_ancestral
from threestudio_rsd.toyworld import ToyworldJudge

from tests.library_versions import needs_half_on_the_cpu
from tests.tiny_models import tiny_deep_floyd, tiny_stable_diffusion
from tests.waiting import NoWaiting


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_stable_diffusion(tmp_path_factory.mktemp("sd"))


def test_shapes_and_bounds(folder: str) -> None:
    prior = load_prior(folder)
    assert isinstance(prior, StableDiffusionPrior)
    assert prior.latent_shape == (4, 8, 8)
    assert prior.image_size == 32
    assert prior.num_train_timesteps == 1000
    latents = prior.encode(torch.rand(2, 3, 50, 40))
    assert latents.shape == (2, 4, 8, 8)
    images = prior.decode(10 * latents)
    assert images.shape == (2, 3, 32, 32)
    assert images.min() >= 0
    assert images.max() <= 1
    assert not any(parameter.requires_grad for parameter in prior.parameters())


def test_gradients_pass_encoder_and_decoder(folder: str) -> None:
    prior = load_prior(folder)
    images = torch.rand(1, 3, 32, 32, requires_grad=True)
    prior.decode(prior.encode(images), clamp=False).sum().backward()
    assert images.grad.abs().sum() > 0


def test_unet_gets_the_timestep_of_each_row_with_the_same_result(folder: str) -> None:
    prior = load_prior(folder)
    x_t, text = torch.randn(3, 4, 8, 8), prior.embed("a").conditional.expand(3, -1, -1)
    expected = prior.unet(x_t, 500, encoder_hidden_states=text).sample
    for t in (500, torch.tensor(500), torch.full((3,), 500)):
        assert torch.equal(prior.raw_predict(x_t, t, text), expected)
    with NoWaiting():
        prior.raw_predict(x_t, 500, text)


def test_v_prediction_is_converted(folder: str, tmp_path: Path) -> None:
    """The same network read as v: eps = alpha v + sigma x_t, so that the estimate of x_0 is alpha x_t - sigma v."""
    v_prior = load_prior(tiny_stable_diffusion(tmp_path, "v_prediction"))
    prior = load_prior(folder)
    x_t, text = torch.randn(2, 4, 8, 8), prior.embed("a").conditional.expand(2, -1, -1)
    for t in (50, torch.tensor([100, 800])):
        v, noise = prior.raw_predict(x_t, t, text), v_prior.raw_predict(x_t, t, text)
        alpha, sigma = prior.alpha(t), prior.sigma(t)
        torch.testing.assert_close((x_t - sigma * noise) / alpha, alpha * x_t - sigma * v, rtol=1e-4, atol=1e-4)


def test_guidance_is_equation_24(folder: str) -> None:
    prior = load_prior(folder)
    x_t, embedding = torch.randn(3, 4, 8, 8), prior.embed("a b", "c")
    conditional = prior.raw_predict(x_t, 400, embedding.conditional.expand(3, -1, -1))
    empty = prior.raw_predict(x_t, 400, embedding.unconditional.expand(3, -1, -1))
    negative = prior.raw_predict(x_t, 400, embedding.negative.expand(3, -1, -1))
    parts = prior.noise_predictions(x_t, 400, embedding, negative=True)
    for part, expected in zip(
        (parts.conditional, parts.unconditional, parts.negative), (conditional, empty, negative), strict=True
    ):
        torch.testing.assert_close(part, expected, rtol=1e-4, atol=1e-5)
    guided = prior.predict_noise(x_t, 400, embedding, 5.0)
    torch.testing.assert_close(guided, negative + 5 * (conditional - negative), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(prior.predict_noise(x_t, 400, embedding, 1.0), conditional, rtol=1e-4, atol=1e-5)


def test_without_negative_prompt_it_equals_the_empty_one(folder: str) -> None:
    embedding = load_prior(folder).embed("a")
    assert torch.equal(embedding.negative, embedding.unconditional)
    assert not torch.equal(embedding.conditional, embedding.unconditional)


@pytest.mark.parametrize("dtype", [pytest.param(torch.float16, marks=needs_half_on_the_cpu), torch.bfloat16])
def test_half_precision_weights_and_single_precision_particles(folder: str, dtype: torch.dtype) -> None:
    half, full = load_prior(folder, torch_dtype=dtype), load_prior(folder)
    x_t, embedding = torch.randn(2, 4, 8, 8), full.embed("a")
    assert half.dtype == dtype
    assert full.dtype == torch.float32
    assert half.fingerprint != full.fingerprint
    noise = half.predict_noise(x_t, 300, embedding)
    assert noise.dtype == torch.float32
    assert half.decode(x_t).dtype == torch.float32
    expected = full.predict_noise(x_t, 300, embedding)
    tolerance = 0.1 if dtype == torch.float16 else 0.25  # bfloat16 has three bits less
    assert (noise - expected).norm() <= tolerance * expected.norm()


def test_deep_floyd_is_a_pixel_space_prior_and_drops_the_learned_variance(tmp_path: Path) -> None:
    prior = load_prior(tiny_deep_floyd(tmp_path))
    assert isinstance(prior, DeepFloydPrior)
    assert prior.latent_shape == (3, 16, 16)
    images = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(prior.decode(prior.encode(images)), images)
    text = torch.randn(1, 5, 16)
    noise = prior.predict_noise(torch.randn(2, 3, 16, 16), 500, PromptEmbedding(text, text * 0, text * 0), 7.5)
    assert noise.shape == (2, 3, 16, 16)


@pytest.mark.slow
def test_samples_of_the_bundled_prior_show_the_prompt(bundled: StableDiffusionPrior) -> None:
    judge = ToyworldJudge.from_folder(data_path("load/toyworld/judge"))
    for prompt, name in (("a mushroom", "mushroom"), ("a blue cup", "cup")):
        latents = sample_ancestral(
            bundled,
            bundled.embed(prompt),
            8,
            lambda step: particle_noise(1, "sampling", step, 8, bundled.latent_shape),
            guidance_scale=3.0,
            num_inference_steps=15,
        )
        images = bundled.decode(latents)
        labels = judge.predict(images)
        assert (labels["class"] == judge.CLASSES.index(name)).float().mean() > 0.8
        restored = bundled.decode(bundled.encode(images))
        assert (restored - images).square().mean() < 1e-3  # 30 dB
    assert (labels["color"] == judge.COLORS.index("blue")).float().mean() > 0.8


@pytest.mark.parametrize("prior_type", [None, "stable-diffusion", "deep-floyd"])
def test_unreachable_models_raise(tmp_path: Path, prior_type: str | None) -> None:
    for model in (str(tmp_path), "nobody/no-such-model", "no such model"):
        with pytest.raises(UserError, match="pretrained_model_name_or_path") as error:
            load_prior(model, prior_type)
        assert model in str(error.value)
        assert "bundled" in str(error.value)


def test_unknown_prior_types_raise(folder: str) -> None:
    with pytest.raises(UserError, match=r"prior_type='flax'.*deep-floyd"):
        load_prior(folder, "flax")


def test_pipelines_of_another_type_raise(folder: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a StableDiffusionPipeline; prior_type='deep-floyd' takes IFPipeline"):
        load_prior(folder, "deep-floyd")
    index = tmp_path / "model_index.json"
    index.write_text('{"_class_name": "KandinskyPipeline"}')
    with pytest.raises(UserError, match="is a KandinskyPipeline; accepted: StableDiffusionPipeline"):
        load_prior(str(tmp_path))
    index.write_text("{")
    with pytest.raises(UserError, match="cannot be loaded"):
        load_prior(str(tmp_path))


def test_broken_weights_raise(tmp_path: Path) -> None:
    model = tiny_stable_diffusion(tmp_path)
    (tmp_path / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"cut short")
    with pytest.raises(UserError, match=r"pretrained_model_name_or_path.*cannot be loaded"):
        load_prior(model)
