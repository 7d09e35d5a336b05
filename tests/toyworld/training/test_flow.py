"""Flow-matching model: it reads captions as the pipeline of diffusers does, and the pipeline loads."""

from pathlib import Path

import pytest
import torch
from threestudio_rsd.files import data_path
from threestudio_rsd.priors import load_prior
from threestudio_rsd.toyworld.training import flow, settings
from threestudio_rsd.toyworld.training.caption_task import padded_tokens
from threestudio_rsd.toyworld.training.data import Renders
from threestudio_rsd.toyworld.training.settings import Optimization
from threestudio_rsd.toyworld.training.velocity_teacher import VelocityTeacher
from threestudio_rsd.toyworld.world import sample_scenes
from transformers import CLIPTokenizer

from tests.library_versions import needs_families, needs_training_libraries

pytestmark = [needs_families, needs_training_libraries]
CAPTION = "a red ice cream, side view"
Denoiser = flow.FlowDenoiser  # the fixture replaces it in its module


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[flow.FlowDenoiser, Path]:
    """Network after three steps, one of them with the pipeline's number of tokens, and the folder of its pipeline."""
    pytest.importorskip("sentencepiece")
    folder = tmp_path_factory.mktemp("flow")
    scenes = sample_scenes(8, torch.Generator().manual_seed(0))
    renders = Renders(torch.randint(256, (8, 3, 64, 64), dtype=torch.uint8), scenes)
    kept = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "FLOW", Optimization(steps=3, batch_size=4, learning_rate=1e-3))
        patch.setattr(flow, "LAYERS", 2)
        patch.setattr(flow, "LONG_SHARE", 0.5)
        patch.setattr(flow, "FlowDenoiser", lambda *parts: kept.append(Denoiser(*parts)) or kept[0])
        flow.train_flow(renders, Path(data_path("load/toyworld/text-to-image")), folder / "work", folder / "flow")
    return kept[0].cpu().eval(), folder


@pytest.mark.parametrize("length", [flow.T5_LENGTH, flow.PIPELINE_LENGTH])
def test_the_network_reads_a_caption_as_the_pipeline_does(trained, length: int) -> None:
    from diffusers import StableDiffusion3Pipeline

    denoiser, folder = trained
    pipe = StableDiffusion3Pipeline.from_pretrained(folder / "flow")
    # The saved weights are averages; here only the way from a caption to the velocity is compared.
    pipe.transformer.load_state_dict(denoiser.transformer.state_dict())
    for name in ("text_encoder", "text_encoder_2", "text_encoder_3"):
        getattr(pipe, name).load_state_dict(getattr(denoiser, name).state_dict())
    clip, t5 = (
        tokenizer(CAPTION, padding="max_length", max_length=limit, return_tensors="pt").input_ids
        for tokenizer, limit in ((pipe.tokenizer, flow.CLIP_LENGTH), (pipe.tokenizer_3, length))
    )
    noisy, t = torch.randn(1, 4, 16, 16), torch.tensor([0.7])
    with torch.no_grad():
        tokens, _, pooled, _ = pipe.encode_prompt(
            CAPTION, None, None, do_classifier_free_guidance=False, max_sequence_length=length
        )
        expected = pipe.transformer(noisy, tokens, pooled, 1000 * t).sample
        assert torch.allclose(denoiser(noisy, t, torch.cat([clip, t5], dim=1)), expected, atol=1e-6)


def test_the_prior_takes_as_many_tokens_as_the_t5_tokenizer_allows(trained) -> None:
    _, folder = trained
    prior = load_prior(str(folder / "flow"))
    assert prior.latent_shape == (4, 16, 16)
    assert prior.embed(CAPTION).conditional.shape[1] <= flow.CLIP_LENGTH + flow.T5_LENGTH + 1
    images = torch.rand(1, 3, 64, 64)
    assert torch.equal(prior.encode(images), load_prior("bundled").encode(images))  # the same autoencoder


def test_the_training_starts_near_the_mean_square_of_the_velocity(trained) -> None:
    """An untrained network predicts zero: its loss is the mean square of the velocity."""
    _, folder = trained
    log = (folder / "work" / "log.jsonl").read_text()
    assert 0.5 < float(log.split('"loss": ')[1].split(",")[0]) < 4


def test_the_teacher_expects_the_clean_latents_of_its_prior() -> None:
    """x_t - s v is the prior's own estimate; its levels are those of the flow; outside of them it is not asked."""
    folder = Path(data_path("load/toyworld/text-to-image"))
    teacher, prior = VelocityTeacher(folder, "cpu"), load_prior("bundled")
    timesteps, is_taught = teacher.nearest(torch.tensor([0.001, 0.5, 0.9, 0.999]))
    assert is_taught.tolist() == [False, True, True, False]
    assert torch.allclose(teacher.flow_times[timesteps[1:3]], torch.tensor([0.5, 0.9]), atol=2e-3)
    t = int(timesteps[2])
    x_t = torch.randn(2, 4, 16, 16)
    noisy = x_t / (prior.alpha(t) + prior.sigma(t))
    tokens = padded_tokens(CLIPTokenizer.from_pretrained(folder / "tokenizer"), CAPTION).expand(2, -1)
    velocity = teacher.velocity(noisy, timesteps[[2, 2]], tokens)
    expected = prior.predict_clean(x_t, t, prior.embed(CAPTION), 1.0)
    assert torch.allclose(noisy - teacher.flow_times[t] * velocity, expected, atol=1e-4)
