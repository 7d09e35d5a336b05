"""Gradients of SDS guidance modules equal threestudio's for the same images and random numbers."""

import json
from pathlib import Path

import pytest
import torch
from threestudio_rsd.extension import threestudio_dreamfusion  # noqa: F401 registers

from tests.tiny_models import tiny_deep_floyd, tiny_stable_diffusion

from .real_threestudio import run_in_threestudio
from .stock_gradients import all_gradients

INDEX = {  # model_index.json, which diffusers' IFPipeline reads
    "_class_name": "IFPipeline",
    "scheduler": ["diffusers", "DDPMScheduler"],
    "tokenizer": ["transformers", "T5Tokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
}
SAMPLE_SIZES = {"stable-diffusion": 128, "deep-floyd": 64}  # threestudio's images have 512 or 64 pixels


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, str]:
    pytest.importorskip("sentencepiece")
    folder = tmp_path_factory.mktemp("models")
    models = {
        "stable-diffusion": tiny_stable_diffusion(folder / "sd"),
        "deep-floyd": tiny_deep_floyd(folder / "if"),
    }
    for kind, model in models.items():
        config = Path(model) / "unet" / "config.json"
        config.write_text(json.dumps({**json.loads(config.read_text()), "sample_size": SAMPLE_SIZES[kind]}))
    (Path(models["deep-floyd"]) / "model_index.json").write_text(json.dumps(INDEX))
    return models


@pytest.fixture(scope="module")
def real_gradients(models, tmp_path_factory) -> dict[str, torch.Tensor]:
    output = tmp_path_factory.mktemp("gradients") / "gradients.pt"
    program = Path(__file__).with_name("stock_gradients.py")
    run_in_threestudio(program, str(output), *(f"{kind}={model}" for kind, model in models.items()))
    return torch.load(output, weights_only=True)


def test_gradients_equal_those_of_threestudio(real_gradients, models) -> None:
    for name, ours in all_gradients(models).items():
        theirs = real_gradients[name]
        assert theirs.abs().sum() > 0
        assert (ours - theirs).norm() <= 1e-5 * theirs.norm(), name


def test_a_wrapped_guidance_of_threestudio_is_itself_without_gamma(real_gradients) -> None:
    for kind in SAMPLE_SIZES:
        assert torch.equal(real_gradients[f"{kind} gamma 0"], real_gradients[kind])
        assert not torch.equal(real_gradients[f"{kind} gamma 1"], real_gradients[kind])
