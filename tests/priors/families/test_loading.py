"""Loading of families: from folders, pipeline objects and single files; mistakes; and a prior of the user's own."""

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from threestudio_rsd.errors import UserError
from threestudio_rsd.priors import embed_prompts, load_prior
from threestudio_rsd.priors.families.registry import FAMILIES
from threestudio_rsd.priors.pipelines import PIPELINES as PIPELINE_CLASSES

from tests.library_versions import needs_families
from tests.tiny_families import DYNAMIC, PIPELINES, kl, t5, tiny_pipeline, tokenizer
from tests.tiny_models import tiny_stable_diffusion

from .test_sampling import NEGATIVE, PROMPT, SIZE, TIMESTEPS, built, exact_sample

QUICK = "stable-diffusion-3"
FOLDERS = [name if name == QUICK else pytest.param(name, marks=pytest.mark.slow) for name in PIPELINES]


def noise_of(prior, t: int = 500) -> torch.Tensor:
    """Noise prediction for a fixed input."""
    torch.manual_seed(1)
    x_t = torch.randn(2, *prior.latent_shape)
    return prior.predict_noise(x_t, t, prior.embed(PROMPT, NEGATIVE), 3.0)


@pytest.mark.parametrize("family", FOLDERS)
def test_a_folder_equals_its_pipeline(family: str, tmp_path: Path) -> None:
    """The folder's text encoders are loaded without the noise network, and cached."""
    pipe, prior = built(family)
    pipe.save_pretrained(tmp_path)
    loaded = load_prior(tmp_path, image_size=SIZE)
    assert torch.equal(noise_of(loaded), noise_of(prior))
    cached = embed_prompts([PROMPT, NEGATIVE], str(tmp_path), family, negatives=[NEGATIVE])
    assert torch.equal(
        cached[:1, : prior.embed(PROMPT).conditional.shape[1]], prior.embed(PROMPT, NEGATIVE).conditional
    )


@needs_families
def test_a_pipeline_object_keeps_scheduler_tokens_and_lora(tmp_path: Path) -> None:
    from diffusers import StableDiffusionPipeline, UniPCMultistepScheduler

    folder = tiny_stable_diffusion(tmp_path)
    pipe = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    assert torch.equal(noise_of(load_prior(pipe)), noise_of(load_prior(folder)))
    pipe.scheduler = UniPCMultistepScheduler(beta_start=0.001, beta_end=0.02)
    pipe.tokenizer.add_tokens("<cat>")
    pipe.text_encoder.resize_token_embeddings(len(pipe.tokenizer))
    prior = load_prior(pipe)
    assert torch.equal(prior.alphas_cumprod, pipe.scheduler.alphas_cumprod)
    assert not torch.equal(prior.embed("<cat>").conditional, prior.embed("cat").conditional)


@needs_families
def test_flow_schedulers_give_their_own_levels() -> None:
    from diffusers import FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler

    pipe, prior = built(QUICK)
    assert torch.equal(prior.flow_times.flip(0), pipe.scheduler.sigmas)  # of the training, shift 3
    other = tiny_pipeline(QUICK)
    other.scheduler = UniPCMultistepScheduler(use_flow_sigmas=True, flow_shift=3.0, prediction_type="flow_prediction")
    assert torch.allclose(load_prior(other, image_size=SIZE).flow_times, prior.flow_times)
    other.scheduler = FlowMatchEulerDiscreteScheduler(**DYNAMIC)
    levels = load_prior(other, image_size=SIZE).flow_times
    mu = 0.5 + (1.15 - 0.5) * ((SIZE // 8) ** 2 - 256) / (4096 - 256)
    half = torch.tensor(mu).exp() * 0.5 / (0.5 + torch.tensor(mu).exp() * 0.5)
    assert torch.allclose(levels[499], half)


def test_a_single_file_holds_the_noise_network(tmp_path: Path) -> None:
    pipe, prior = built("flux")
    pipe.save_pretrained(tmp_path / "base")
    weights = {name: 1.5 * weight.contiguous() for name, weight in pipe.transformer.state_dict().items()}
    save_file(weights, tmp_path / "flux.safetensors")
    file, base = str(tmp_path / "flux.safetensors"), str(tmp_path / "base")
    loaded = load_prior(file, "flux", image_size=SIZE, base_model=base)
    assert all(torch.equal(weight, weights[name]) for name, weight in loaded.network.state_dict().items())
    assert torch.equal(
        loaded.decode(torch.ones(1, *loaded.latent_shape)), prior.decode(torch.ones(1, *loaded.latent_shape))
    )
    assert embed_prompts([PROMPT], file, "flux", base_model=base).shape == (1, 513, 32)
    with pytest.raises(UserError, match="set base_model to"):
        load_prior(file, "flux", image_size=SIZE)
    with pytest.raises(UserError, match="needs prior_type"):
        load_prior(file)


@needs_families
def test_mistakes_are_one_sentence(tmp_path: Path) -> None:
    from diffusers import AutoencoderTiny, DDIMScheduler, LatentConsistencyModelPipeline

    pipe, prior = built(QUICK)
    with pytest.raises(UserError, match="image_size=20 does not fit; accepted: a multiple of 8, such as 16"):
        load_prior(pipe, image_size=20)
    with pytest.raises(UserError, match="text embeddings of width 7 do not fit"):
        prior.raw_predict(torch.zeros(1, *prior.latent_shape), 5, torch.zeros(1, 9, 7))
    with pytest.raises(UserError, match=r"accepted: \(N, 4, 8, 8\)"):
        prior.noise_predictions(torch.zeros(1, 4, 8, 9), 5, prior.embed(PROMPT))
    other = tiny_pipeline(QUICK)
    other.scheduler = DDIMScheduler()
    with pytest.raises(UserError, match="a DDIMScheduler, does no flow matching; accepted: FlowMatchEuler"):
        load_prior(other)
    with pytest.raises(
        UserError, match=r"the pipeline is a AutoencoderTiny; accepted: StableDiffusionPipeline.*docs/guides/priors"
    ):
        load_prior(AutoencoderTiny())
    assert LatentConsistencyModelPipeline.__name__ not in PIPELINE_CLASSES
    with pytest.raises(UserError, match="image_size=32 has no effect with prior_type='stable-diffusion'"):
        load_prior("bundled", image_size=32)
    with pytest.raises(UserError, match="prior_type='flux' takes FluxPipeline"):
        load_prior("bundled", "flux")


def own_prior_of_the_docs() -> str:
    """Python code of the section 'A prior of your own' in docs/guides/priors.md."""
    page = (Path(__file__).parents[3] / "docs" / "guides" / "priors.md").read_text()
    return re.search(r"## A prior of your own.*?```python\n(.*?)```", page, re.DOTALL)[1]


def test_a_prior_of_the_users_own_in_under_60_lines() -> None:
    diffusers = pytest.importorskip("diffusers", "0.31")  # has AuraFlow, with sigmas
    code = own_prior_of_the_docs()
    assert len(code.splitlines()) < 60
    torch.manual_seed(0)
    transformer = diffusers.AuraFlowTransformer2DModel(
        sample_size=8,
        num_mmdit_layers=1,
        num_single_dit_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=32,
        caption_projection_dim=16,
        pos_embed_max_size=64,
    )
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=1.73)
    pipe = diffusers.AuraFlowPipeline(tokenizer(), t5(), kl(scaling_factor=0.13025), transformer, scheduler)
    pipe.set_progress_bar_config(disable=True)
    try:
        exec(code, {})
        prior = load_prior(pipe, image_size=SIZE)
        noise = torch.randn(1, *prior.latent_shape)
        latents = pipe(
            PROMPT,
            negative_prompt=NEGATIVE,
            height=SIZE,
            width=SIZE,
            sigmas=[(t + 1) / 1000 for t in TIMESTEPS],
            latents=noise,
            guidance_scale=4.0,
            output_type="latent",
        ).images
        ours = exact_sample(prior, noise, prior.embed(PROMPT, NEGATIVE), 4.0, TIMESTEPS)
        assert (ours - latents).abs().max() < 2e-5 * latents.abs().max()
    finally:
        FAMILIES.pop("aura-flow", None)
        PIPELINE_CLASSES.pop("AuraFlowPipeline", None)
