"""CLIP and T5 tokenizers with one token per word of the captions; other words are split into letters."""

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

from tokenizers.pre_tokenizers import ByteLevel
from transformers import AutoTokenizer, CLIPTokenizer, PreTrainedTokenizerBase

from ...errors import require
from ..captions import vocabulary

CLIP_LENGTH = 16  # tokens
T5_LENGTH = 77  # tokens, as DeepFloyd IF pads prompts
START, END = "<|startoftext|>", "<|endoftext|>"
SPACE = "\u2581"  # sentencepiece's mark before each word
WORD_SCORE, LETTER_SCORE = -3.0, -10.0  # log probabilities: a whole word is preferred to its letters


def write_clip_tokenizer(folder: Path) -> CLIPTokenizer:
    """Write and return a CLIP tokenizer, in the formats of transformers 4.28 and of current releases.

    Args:
        folder: folder of the tokenizer's files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    letters = sorted(ByteLevel.alphabet())
    merges = _merges(vocabulary())
    tokens = dict.fromkeys(
        [*letters, *(letter + "</w>" for letter in letters), *(a + b for a, b in merges), START, END]
    )
    files = {
        "vocab.json": json.dumps({token: i for i, token in enumerate(tokens)}),
        "merges.txt": "#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges),
    }
    _write(folder, files)
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=CLIP_LENGTH)
    tokenizer.save_pretrained(folder)
    # save_pretrained of current transformers omits these two files, which transformers 4.28 reads.
    _write(folder, files)
    use_old_merges(folder)
    return tokenizer


def use_old_merges(folder: Path) -> None:
    """Write the merges of tokenizer.json in the format of older `tokenizers`, which current releases also read.

    Args:
        folder: folder of the tokenizer's files.
    """
    file = folder / "tokenizer.json"
    if not file.is_file():  # former versions of transformers write none for this class
        return
    tokenizer = json.loads(file.read_text())
    model = tokenizer["model"]
    model.pop("ignore_merges", None)
    model["merges"] = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    file.write_text(json.dumps(tokenizer, indent=2, ensure_ascii=False) + "\n")


def _write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).write_text(text)


def _merges(words: list[str]) -> list[tuple[str, str]]:
    """Byte-pair merges, most frequent pair first, until every word is one token."""
    pieces = [[*word[:-1], word[-1] + "</w>"] for word in words]
    merges = []
    while pairs := Counter(pair for word in pieces for pair in itertools.pairwise(word)):
        pair = max(pairs, key=lambda candidate: (pairs[candidate], candidate))
        merges.append(pair)
        pieces = [_merge(word, pair) for word in pieces]
    return merges


def _merge(word: list[str], pair: tuple[str, str]) -> list[str]:
    """Join every adjacent occurrence of a pair in a list of pieces."""
    merged: list[str] = []
    for piece in word:
        if merged and (merged[-1], piece) == pair:
            merged[-1] += piece
        else:
            merged.append(piece)
    return merged


def write_t5_tokenizer(folder: Path, length: int = T5_LENGTH) -> PreTrainedTokenizerBase:
    """Write and return a T5 tokenizer of the same words, in the formats of sentencepiece and of `tokenizers`.

    Args:
        folder: folder of the tokenizer's files.
        length: largest number of tokens.

    Raises:
        UserError: sentencepiece is not installed.
    """
    require("sentencepiece", "deepfloyd")
    from sentencepiece import sentencepiece_model_pb2  # its classes are created at run time

    messages: Any = sentencepiece_model_pb2

    folder.mkdir(parents=True, exist_ok=True)
    model = messages.ModelProto()
    model.trainer_spec.model_type = model.trainer_spec.UNIGRAM
    special = [("<pad>", model.SentencePiece.CONTROL), ("</s>", model.SentencePiece.CONTROL)]
    special.append(("<unk>", model.SentencePiece.UNKNOWN))
    words = [(SPACE + word, WORD_SCORE) for word in vocabulary()] + [(",", WORD_SCORE)]
    letters = [(letter, LETTER_SCORE) for letter in [*"abcdefghijklmnopqrstuvwxyz0123456789", SPACE]]
    for text, kind in special:
        model.pieces.add(piece=text, score=0.0, type=kind)
    for text, score in dict(letters + words).items():
        model.pieces.add(piece=text, score=score)
    model.trainer_spec.pad_id, model.trainer_spec.eos_id = 0, 1
    model.trainer_spec.unk_id, model.trainer_spec.bos_id = 2, -1
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = True
    model.normalizer_spec.remove_extra_whitespaces = True
    (folder / "spiece.model").write_bytes(model.SerializeToString())
    config = {"tokenizer_class": "T5Tokenizer", "extra_ids": 0, "model_max_length": length}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    fast = json.loads(tokenizer.backend_tokenizer.to_str())
    (folder / "tokenizer.json").write_text(json.dumps(_old_metaspace(fast)))
    return tokenizer


def _old_metaspace(value: Any) -> Any:
    """Tokenizer JSON with Metaspace entries in the format of older `tokenizers`, which current releases also read."""
    if isinstance(value, dict):
        if value.get("type") == "Metaspace":
            return {"type": "Metaspace", "replacement": SPACE, "add_prefix_space": True}
        return {key: _old_metaspace(inner) for key, inner in value.items()}
    return [_old_metaspace(inner) for inner in value] if isinstance(value, list) else value
