"""The bundled flow-matching prior: diffusers' own pipeline and sampler, prompts, and a run of its config."""

import json
from pathlib import Path

import pytest
import torch
from threestudio_rsd.cli.main import main
from threestudio_rsd.files import data_path
from threestudio_rsd.priors import PromptEmbedding, embed_prompts, load_prior
from threestudio_rsd.toyworld import CLASSES, ToyworldJudge

from tests.library_versions import needs_families

from .test_sampling import exact_sample

pytestmark = needs_families
STEPS = [999, 799, 599, 399, 199, 0]


def test_it_is_the_pipeline_of_its_folder() -> None:
    """The exact step with fixed noise equals the pipeline's Euler sampler from the same noise."""
    from diffusers import StableDiffusion3Pipeline

    prior, noise = load_prior("bundled-flow"), torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    assert prior.is_bundled
    assert prior.is_latent
    pipe = StableDiffusion3Pipeline.from_pretrained(data_path("load/toyworld/flow"))
    pipe.set_progress_bar_config(disable=True)
    expected = pipe(
        "a red cup",
        height=64,
        width=64,
        guidance_scale=3.0,
        sigmas=[(t + 1) / 1000 for t in STEPS],
        num_images_per_prompt=2,
        latents=noise,
        max_sequence_length=16,
        output_type="latent",
    ).images
    sample = exact_sample(prior, noise, prior.embed("a red cup"), 3.0, STEPS)
    torch.testing.assert_close(sample, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_its_images_show_what_the_prompt_says() -> None:
    prior, judge = load_prior("bundled-flow"), ToyworldJudge.bundled()
    steps = torch.linspace(999, 0, 20).round().long().tolist()
    texts = embed_prompts([f"a {name}" for name in CLASSES], "bundled-flow", "stable-diffusion-3")
    embedding = prior.embed("")
    embedding = PromptEmbedding(texts, embedding.unconditional.expand(len(texts), -1, -1), embedding.negative)
    noise = torch.randn(len(CLASSES), 4, 16, 16, generator=torch.Generator().manual_seed(0))
    images = prior.decode(exact_sample(prior, noise, embedding, 3.0, steps))
    found = judge.predict(images)["class"]
    assert int((found == torch.arange(len(CLASSES))).sum()) >= len(CLASSES) - 1


@pytest.mark.parametrize("config", ["flow", pytest.param("sds", marks=pytest.mark.slow)])
def test_the_configs_of_the_bundled_prior_run_on_it(config: str, tmp_path: Path) -> None:
    code = main(
        [
            "launch", "--config", f"configs/text2image/{config}.yaml", "--train", f"exp_root_dir={tmp_path}",
            "use_timestamp=false", "tag=run", "name=flow", "trainer.max_steps=2", "system.particles.n_particles=2",
            "system.prompt_processor.prompt=a mushroom", "system.guidance.prior_type=stable-diffusion-3",
            "system.guidance.pretrained_model_name_or_path=bundled-flow", "system.guidance.gamma=5",
        ]
    )  # fmt: skip
    assert code == 0
    metrics = json.loads((tmp_path / "flow" / "run" / "save" / "metrics.json").read_text())
    assert "truth" in json.dumps(metrics)
