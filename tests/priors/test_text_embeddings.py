"""Text embeddings and their cache."""

import shutil
from pathlib import Path

import pytest
import torch
from threestudio_rsd.errors import UserError
from threestudio_rsd.priors import embed_prompts, load_prior

from tests.tiny_models import tiny_deep_floyd, tiny_stable_diffusion


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RSD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "text_embeddings"


@pytest.fixture
def model(tmp_path: Path) -> str:
    return tiny_stable_diffusion(tmp_path / "model")


def test_cached_prompts_need_no_text_encoder(cache: Path, model: str) -> None:
    first = embed_prompts(["a", "b", "a"], model)
    assert torch.equal(first[0], first[2])
    assert not torch.equal(first[0], first[1])
    (Path(model) / "text_encoder" / "config.json").unlink()
    assert torch.equal(embed_prompts(["b", "a"], model), first[[1, 0]])
    with pytest.raises(UserError, match="text encoder"):
        embed_prompts(["a", "new"], model)


def test_models_precisions_revisions_and_prompts_have_separate_entries(cache: Path, model: str, tmp_path: Path) -> None:
    other = tiny_stable_diffusion(tmp_path / "other", "v_prediction")
    embed_prompts(["a", "b"], model)
    embed_prompts(["a"], other)
    embed_prompts(["a"], model, torch_dtype=torch.bfloat16)
    embed_prompts(["a"], model, revision="v2")
    assert len(list(cache.iterdir())) == 5


def test_replaced_weights_get_a_new_entry(cache: Path, model: str) -> None:
    embed_prompts(["a"], model)
    weights = Path(model) / "text_encoder" / "model.safetensors"
    weights.write_bytes(weights.read_bytes())
    embed_prompts(["a"], model)
    assert len(list(cache.iterdir())) == 2


def test_a_broken_entry_is_recomputed(cache: Path, model: str) -> None:
    first = embed_prompts(["a"], model)
    next(cache.iterdir()).write_bytes(b"cut short")
    assert torch.equal(embed_prompts(["a"], model), first)


def test_embedding_works_without_a_writable_cache(model: str, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("RSD_CACHE", str(tmp_path / "file"))
    assert embed_prompts(["a"], model).shape == (1, 8, 16)


@pytest.mark.parametrize("prompt", ["a " * 500, "éñ 你好 🍄", "../../etc", "\x00\n", "x"])
def test_any_prompt_is_accepted(cache: Path, prompt: str) -> None:
    embedding = embed_prompts([prompt], "bundled")
    assert embedding.shape == (1, 16, 128)
    assert embedding.isfinite().all()


def test_deep_floyd_prompts_are_in_lower_case_with_masked_padding(cache: Path, tmp_path: Path) -> None:
    pytest.importorskip("sentencepiece")
    model = tiny_deep_floyd(tmp_path / "if")
    plain, capitals, other = embed_prompts(["a red fox", " A Red FOX ", "a lazy dog"], model, "t5")
    assert plain.shape == (77, 16)
    torch.testing.assert_close(plain, capitals)
    assert not torch.allclose(plain, other)
    embedding = load_prior(model).embed("a red fox", "a lazy dog")
    torch.testing.assert_close(embedding.conditional[0], plain)
    torch.testing.assert_close(embedding.negative[0], other)


def test_a_sentencepiece_file_is_loaded_as_a_slow_tokenizer(cache: Path, tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("sentencepiece")
    from transformers import AutoTokenizer

    model = tiny_deep_floyd(tmp_path)
    asked = []
    load = AutoTokenizer.from_pretrained
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda *a, **kw: asked.append(kw) or load(*a, **kw))
    embed_prompts(["a mushroom"], model, "t5")
    embed_prompts(["a mushroom"], "bundled-pixel", "t5")
    assert [options["use_fast"] for options in asked] == [False, True]


def test_unavailable_text_encoders_raise(cache: Path, model: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least one prompt"):
        embed_prompts([], model)
    with pytest.raises(UserError, match=r"text encoder='bert'.*clip, t5"):
        embed_prompts(["a"], model, "bert")
    with pytest.raises(UserError, match="prior_type='deep-floyd' takes IFPipeline"):
        embed_prompts(["a"], model, "t5")
    with pytest.raises(UserError, match="nobody/no-such-model"):
        embed_prompts(["a"], "nobody/no-such-model")
    (Path(model) / "text_encoder" / "model.safetensors").write_bytes(b"cut short")
    with pytest.raises(UserError, match="text encoder cannot be loaded"):
        embed_prompts(["a"], model)
    shutil.rmtree(Path(model) / "tokenizer")
    with pytest.raises(UserError, match=r"none of vocab\.json"):
        embed_prompts(["a"], model)
    assert not cache.exists()
