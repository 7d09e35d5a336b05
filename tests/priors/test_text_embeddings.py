"""Text embeddings and their cache."""

import logging
import shutil
from pathlib import Path

import pytest
import torch
from threestudio_rsd.errors import UserError
from threestudio_rsd.priors import embed_prompts, load_prior
from threestudio_rsd.priors.text import cache as embedding_cache
from threestudio_rsd.priors.text import embeddings as text_embeddings

from tests.tiny_models import tiny_deep_floyd, tiny_stable_diffusion

from .broken_pipelines import copy_bundled, edit_json, edit_weights


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RSD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "text_embeddings"


@pytest.fixture
def model(tmp_path: Path) -> str:
    return tiny_stable_diffusion(tmp_path / "model")


def test_cached_prompts_need_no_text_encoder(cache: Path, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = embed_prompts(["a", "b", "a"], model)
    assert torch.equal(first[0], first[2])
    assert not torch.equal(first[0], first[1])
    monkeypatch.setattr(text_embeddings, "load_pretrained", no_text_encoder)
    assert torch.equal(embed_prompts(["b", "a"], model), first[[1, 0]])
    with pytest.raises(AssertionError, match="text encoder"):
        embed_prompts(["a", "new"], model)


def no_text_encoder(*args: object, **options: object) -> None:
    raise AssertionError("no text encoder may be loaded")


@pytest.mark.slow
def test_models_precisions_revisions_and_prompts_have_separate_entries(cache: Path, model: str, tmp_path: Path) -> None:
    other = tiny_stable_diffusion(tmp_path / "other", "v_prediction")
    embed_prompts(["a", "b"], model)
    embed_prompts(["a"], other)
    embed_prompts(["a"], model, torch_dtype=torch.bfloat16)
    embed_prompts(["a"], model, revision="v2")
    assert len(list(cache.iterdir())) == 5


@pytest.mark.slow
def test_replaced_weights_get_a_new_entry(cache: Path, model: str) -> None:
    embed_prompts(["a"], model)
    weights = Path(model) / "text_encoder" / "model.safetensors"
    weights.write_bytes(weights.read_bytes())
    embed_prompts(["a"], model)
    assert len(list(cache.iterdir())) == 2


@pytest.mark.slow
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


@pytest.mark.slow
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
    with pytest.raises(UserError, match="its text_encoder cannot be loaded as CLIPTextModel"):
        embed_prompts(["a"], model)
    shutil.rmtree(Path(model) / "tokenizer")
    with pytest.raises(UserError, match=r"none of vocab\.json"):
        embed_prompts(["a"], model)
    assert not cache.exists()


@pytest.mark.slow
def test_every_file_of_text_encoder_and_tokenizer_is_in_the_key(cache: Path, model: str) -> None:
    for name in ("text_encoder/config.json", "tokenizer/vocab.json", "tokenizer/merges.txt"):
        embed_prompts(["a"], model)
        before = len(list(cache.iterdir()))
        file = Path(model) / name
        file.write_text(file.read_text() + "\n")
        embed_prompts(["a"], model)
        assert len(list(cache.iterdir())) == before + 1


@pytest.mark.slow
@pytest.mark.parametrize("library", embedding_cache.LIBRARIES)
def test_versions_of_libraries_are_in_the_key(
    cache: Path, model: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = embed_prompts(["a"], model)
    installed = embedding_cache.version
    monkeypatch.setattr(embedding_cache, "version", lambda name: "0.0" if name == library else installed(name))
    assert torch.equal(embed_prompts(["a"], model), first)
    assert len(list(cache.iterdir())) == 2


@pytest.mark.slow
def test_layers_skipped_by_the_config_change_the_embedding(cache: Path, tmp_path: Path) -> None:
    """CLIP skip: the last layers of the file are left out."""
    model = copy_bundled(tmp_path / "model")
    whole = embed_prompts(["a mushroom"], str(model))
    edit_json(model / "text_encoder/config.json", num_hidden_layers=1)
    skipped = embed_prompts(["a mushroom"], str(model))
    assert skipped.shape == whole.shape
    assert not torch.allclose(skipped, whole)


@pytest.mark.slow
def test_an_entry_with_a_flipped_bit_is_recomputed(cache: Path, model: str) -> None:
    first = embed_prompts(["a"], model)
    file = next(cache.iterdir())
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    assert torch.equal(embed_prompts(["a"], model), first)
    assert file.read_bytes() != bytes(content)


def test_half_a_text_encoder_is_refused_and_not_cached(cache: Path, tmp_path: Path) -> None:
    model = copy_bundled(tmp_path / "model")
    edit_weights(model, "text_encoder", lambda weights: {k: v for k, v in weights.items() if "layers.1" not in k})
    with pytest.raises(UserError, match=r"weights of its text_encoder do not fit its config \(missing .*layers\.1"):
        embed_prompts(["a mushroom"], str(model))
    assert not cache.exists()


def test_a_text_encoder_with_nan_is_refused(cache: Path, tmp_path: Path) -> None:
    model = copy_bundled(tmp_path / "model")
    edit_weights(model, "text_encoder", lambda weights: {k: v * float("nan") for k, v in weights.items()})
    with pytest.raises(UserError, match="weights of its text_encoder are not finite"):
        embed_prompts(["a mushroom"], str(model))
    assert not cache.exists()


def write_bert(model: Path) -> None:
    """Replace a pipeline's text encoder by a BERT of the same width."""
    from transformers import BertConfig, BertModel, BertTokenizer

    for part in ("text_encoder", "tokenizer"):
        shutil.rmtree(model / part)
    sizes = {"hidden_size": 128, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=10, max_position_embeddings=12, **sizes)).save_pretrained(model / "text_encoder")
    vocabulary = model.parent / "vocab.txt"
    vocabulary.write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "mushroom", "car", "blue"])
    )
    BertTokenizer(str(vocabulary), model_max_length=16).save_pretrained(model / "tokenizer")


def test_any_text_encoder_that_the_pipeline_can_use_is_used(cache: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer, BertModel

    model = copy_bundled(tmp_path / "model")
    write_bert(model)
    with pytest.raises(UserError, match=r"its (tokenizer|text_encoder)"):  # model_index.json still names a CLIP
        embed_prompts(["a red mushroom"], str(model))
    edit_json(
        model / "model_index.json",
        text_encoder=["transformers", "BertModel"],
        tokenizer=["transformers", "BertTokenizer"],
    )
    embedding = embed_prompts(["a red mushroom"], str(model))
    tokens = AutoTokenizer.from_pretrained(model / "tokenizer")(
        ["a red mushroom"], padding="max_length", max_length=12, return_tensors="pt"
    )
    with torch.no_grad():
        expected = BertModel.from_pretrained(model / "text_encoder").eval()(tokens.input_ids)[0]
    torch.testing.assert_close(embedding, expected)


def test_text_encoders_that_give_no_sequence_are_refused(cache: Path, tmp_path: Path) -> None:
    model = copy_bundled(tmp_path / "model")
    for name, expected in (
        ("CLIPTextModelWithProjection", "its text_encoder"),
        ("pipeline", "its text_encoder cannot be loaded"),
        ("NoSuchModel", "its text_encoder is a NoSuchModel, which transformers does not have"),
    ):
        edit_json(model / "model_index.json", text_encoder=["transformers", name])
        with pytest.raises(UserError, match=expected):
            embed_prompts(["a mushroom"], str(model))
    edit_json(model / "model_index.json", text_encoder=["my_library", "MyEncoder"])
    with pytest.raises(UserError, match=r"my_library\.MyEncoder; accepted: a class of transformers"):
        embed_prompts(["a mushroom"], str(model))
    assert not cache.exists()


@pytest.mark.slow
@pytest.mark.parametrize("length", [None, 100])
def test_the_text_encoder_limits_the_length_of_prompts(cache: Path, tmp_path: Path, length: int | None) -> None:
    """A tokenizer without model_max_length, or with one above the text encoder's number of positions."""
    expected = embed_prompts(["a mushroom"], "bundled")
    model = copy_bundled(tmp_path / "model")
    config = model / "tokenizer/tokenizer_config.json"
    if length is None:
        edit_json(config, remove=("model_max_length",))
    else:
        edit_json(config, model_max_length=length)
    assert torch.equal(embed_prompts(["a mushroom"], str(model)), expected)


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    logger = logging.getLogger("threestudio_rsd")
    logger.addHandler(caplog.handler)  # the command line turns propagation off
    yield caplog
    logger.removeHandler(caplog.handler)


LONG = "a very large red mushroom on a green meadow in the early light of the morning sun in the month of may"


@pytest.mark.slow
def test_what_is_cut_off_a_prompt_is_named_also_from_the_cache(cache: Path, warnings: pytest.LogCaptureFixture) -> None:
    embed_prompts(["a mushroom"], "bundled")
    assert not warnings.messages
    first = embed_prompts([LONG], "bundled")
    assert "it does not see" in warnings.messages[0]
    assert warnings.messages[0].endswith("the month of may'.")
    warnings.clear()
    assert torch.equal(embed_prompts([LONG], "bundled"), first)
    assert "month of may" in warnings.messages[0]


@pytest.mark.slow
def test_the_ending_of_a_long_prompt_survives(cache: Path, warnings: pytest.LogCaptureFixture) -> None:
    endings = {LONG + words: words for words in (", front view", ", side view", ", back view")}
    front, side, back = embed_prompts(list(endings), "bundled", endings=endings)
    assert not torch.allclose(front, side)
    assert not torch.allclose(front, back)
    assert "month of may" in warnings.messages[0]
    assert "(and of 2 more prompts)" in warnings.messages[0]
    short = {"a mushroom, front view": ", front view"}
    assert torch.equal(embed_prompts(list(short), "bundled", endings=short), embed_prompts(list(short), "bundled"))
    plain = embed_prompts([LONG + ", front view", LONG + ", side view"], "bundled")
    assert torch.equal(plain[0], plain[1])  # as diffusers cuts


@pytest.mark.parametrize("text", ["紅" * 40, "mushroom" * 40, ""])
def test_endings_survive_texts_without_spaces(cache: Path, text: str) -> None:
    prompts = {text + ending: ending for ending in (", front view", ", back view")}
    front, back = embed_prompts(list(prompts), "bundled", endings=prompts)
    assert not torch.allclose(front, back)


def test_long_deep_floyd_prompts_keep_their_ending(cache: Path, warnings: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("sentencepiece")
    text = "A Red Mushroom " * 40
    prompts = {text + ending: ending for ending in (", Front View", ", Back View")}
    front, back = embed_prompts(list(prompts), "bundled-pixel", "t5", endings=prompts)
    assert not torch.allclose(front, back)
    assert "it does not see" in warnings.messages[0]


def test_vectors_of_a_textual_inversion_are_all_named(cache: Path, tmp_path: Path) -> None:
    """As in diffusers: the token stands for all of its vectors."""
    from transformers import CLIPTextModel, CLIPTokenizer

    model = copy_bundled(tmp_path / "model")
    tokenizer = CLIPTokenizer.from_pretrained(model / "tokenizer")
    tokenizer.add_tokens(["<cat>", "<cat>_1", "<cat>_2"])
    tokenizer.save_pretrained(model / "tokenizer")
    encoder = CLIPTextModel.from_pretrained(model / "text_encoder")
    encoder.resize_token_embeddings(len(tokenizer))
    encoder.save_pretrained(model / "text_encoder", safe_serialization=True)
    one, all_of_them = embed_prompts(["a <cat>", "a <cat> <cat>_1 <cat>_2"], str(model))
    torch.testing.assert_close(one, all_of_them)


def test_prompts_that_are_no_text_are_refused(cache: Path) -> None:
    with pytest.raises(UserError, match="is no valid text"):
        embed_prompts(["a mushroom \udce9"], "bundled")
