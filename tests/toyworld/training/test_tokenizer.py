"""Tokenizers: one token per word, letters of other words, and no unknown tokens."""

import json

import pytest
from threestudio_rsd.toyworld.captions import vocabulary
from threestudio_rsd.toyworld.training.tokenizer import T5_LENGTH, write_clip_tokenizer, write_t5_tokenizer
from transformers import AutoTokenizer, CLIPTokenizer

from tests.library_versions import needs_training_libraries

TEXT = "a 3d render of an orange ice cream, overhead view"


def test_clip_words_are_one_token(tmp_path) -> None:
    write_clip_tokenizer(tmp_path)
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path)
    if (tmp_path / "tokenizer.json").is_file():
        fast = json.loads((tmp_path / "tokenizer.json").read_text())
        assert all(isinstance(pair, str) for pair in fast["model"]["merges"])  # as tokenizers 0.13 reads them
    assert [word for word in vocabulary() if len(tokenizer.tokenize(word)) > 1] == ["3d"]  # CLIP parts digits
    assert len(tokenizer(TEXT).input_ids) == 12 + 2
    assert tokenizer("hamburger").input_ids != tokenizer("").input_ids
    assert len(tokenizer("", padding="max_length").input_ids) == 16
    assert (tmp_path / "vocab.json").is_file()
    assert (tmp_path / "merges.txt").is_file()


@needs_training_libraries
def test_t5_words_are_one_token(tmp_path) -> None:
    pytest.importorskip("sentencepiece")
    write_t5_tokenizer(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    words = [word for word in vocabulary() if word != "."]
    assert all(len(tokenizer(word, add_special_tokens=False).input_ids) == 1 for word in words if word != ",")
    assert len(tokenizer(TEXT).input_ids) == 11 + 1
    assert tokenizer("hamburger").input_ids.count(tokenizer.unk_token_id) == 0
    assert tokenizer.model_max_length == T5_LENGTH
