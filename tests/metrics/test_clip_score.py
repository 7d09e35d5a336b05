"""CLIP score of the bundled CLIP against transformers' CLIPModel."""

import logging
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from threestudio_rsd.errors import UserError
from threestudio_rsd.files import data_path
from threestudio_rsd.metrics.clip_score import clip_score, load_text_encoder
from threestudio_rsd.repulsion import load_features
from threestudio_rsd.toyworld.render import render_scenes
from threestudio_rsd.toyworld.world import choose_scenes

FOLDER = str(data_path("load/toyworld/clip"))


def test_clip_score_equals_the_clip_model_and_prefers_the_right_prompt() -> None:
    from transformers import AutoTokenizer, CLIPModel

    images, prompts = render_scenes(choose_scenes(2, 0, "mushroom", "red")), ["a red mushroom", "a blue car"]
    model, tokens = CLIPModel.from_pretrained(FOLDER), AutoTokenizer.from_pretrained(FOLDER)(prompts, padding=True)
    with torch.no_grad():
        whole = model(pixel_values=images * 2 - 1, **tokens.convert_to_tensors("pt"))  # trained on [-1, 1]
    embedded, texts = load_features("clip", bundled=True)(images), load_text_encoder(FOLDER)(prompts)
    scores = torch.stack([clip_score(embedded, text.expand_as(embedded)) for text in texts], 1)
    expected = (whole.logits_per_image / model.logit_scale.exp()).clamp_min(0)
    torch.testing.assert_close(scores, expected.detach(), rtol=1e-4, atol=1e-4)
    assert (scores[:, 0] > scores[:, 1]).all()


def test_opposite_embeddings_score_0_and_sizes_are_checked() -> None:
    ones = torch.ones(2, 3)
    assert clip_score(ones, -ones).tolist() == [0, 0]
    assert clip_score(ones, 2 * ones).tolist() == pytest.approx([1, 1])
    with pytest.raises(UserError, match="cannot be compared"):
        clip_score(ones, torch.ones(2, 4))


def test_embedding_of_a_prompt_does_not_depend_on_the_batch() -> None:
    encode = load_text_encoder(FOLDER)
    prompts = ["a mushroom", "a red car, front view", "a red tree " * 30]
    together = encode(prompts)
    assert together.shape == (3, 64)
    torch.testing.assert_close(together[:1], encode(prompts[:1]), rtol=1e-4, atol=1e-5)


def test_missing_clip_model_raises_user_error() -> None:
    with pytest.raises(UserError, match="nobody/nothing"):
        load_text_encoder("nobody/nothing")


def test_what_is_cut_off_a_prompt_is_named(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("threestudio_rsd")
    logger.addHandler(caplog.handler)
    encode = load_text_encoder(FOLDER)
    encode(["a mushroom"])
    assert not caplog.messages
    encode(["a red mushroom " * 10 + "in may"])
    logger.removeHandler(caplog.handler)
    assert "in may': the rest is cut off." in caplog.messages[0]


def test_half_a_clip_is_refused(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FOLDER, tmp_path / "clip"))
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    kept = {key: value for key, value in weights.items() if not key.startswith("text_model.encoder.layers.1.")}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"weights of the network do not fit its config \(missing"):
        load_text_encoder(str(folder))
