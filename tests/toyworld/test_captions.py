"""Captions: grammar, what they tell and how often, and the words that the tokenizers must know."""

import random

from threestudio_rsd.toyworld.captions import caption, named_attributes, random_caption, vocabulary


def test_captions_read_well() -> None:
    assert caption(0) == "a mushroom"
    assert caption(3) == "an ice cream"
    assert caption(3, 0, 2) == "a red ice cream, back view"
    assert caption(7, 1, prefix="a photo of") == "a photo of an orange car"


def test_each_thing_is_told_as_often_as_asked() -> None:
    choice = random.Random(0)
    texts = [random_caption(6, 4, 3, choice, 0.5, 0.7, 0.3, 0.1) for _ in range(4000)]
    told = [text for text in texts if text]
    assert abs(len(told) / len(texts) - 0.9) < 0.02
    for part, share in (("cyan", 0.5), ("overhead view", 0.7), (" of ", 0.3)):
        assert abs(sum(part in text for text in told) / len(told) - share) < 0.03, part


def test_vocabulary_has_every_word() -> None:
    words = set(vocabulary())
    texts = [caption(c, k, v, p) for c in range(8) for k in range(8) for v in range(4) for p in ("", "a 3d render of")]
    for text in texts:
        assert set(text.replace(",", " ,").split()) <= words


def test_what_a_prompt_names_is_found() -> None:
    for c in range(8):
        for color in (None, *range(8)):
            assert named_attributes(caption(c, color, 1, "a photo of")) == (c, color)
    assert named_attributes("A RED CAR.") == (7, 0)
    assert named_attributes("a cupcake") == (None, None)
    assert named_attributes("a red and blue car") == (7, None)
    assert named_attributes("") == (None, None)
