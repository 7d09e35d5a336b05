"""Captions: grammar, frequencies of the named attributes, vocabulary, and parsing of prompts."""

import random

from threestudio_rsd.toyworld.captions import caption, named_attributes, random_caption, vocabulary


def test_captions_have_the_expected_grammar() -> None:
    assert caption(0) == "a mushroom"
    assert caption(3) == "an ice cream"
    assert caption(3, 0, 2) == "a red ice cream, back view"
    assert caption(7, 1, prefix="a photo of") == "a photo of an orange car"


def test_attributes_are_named_with_the_given_frequencies() -> None:
    choice = random.Random(0)
    texts = [random_caption(6, 4, 3, choice, 0.5, 0.7, 0.3, 0.1) for _ in range(4000)]
    told = [text for text in texts if text]
    assert abs(len(told) / len(texts) - 0.9) < 0.02
    for part, share in (("cyan", 0.5), ("overhead view", 0.7), (" of ", 0.3)):
        assert abs(sum(part in text for text in told) / len(told) - share) < 0.03, part


def test_vocabulary_contains_every_word_of_the_captions() -> None:
    words = set(vocabulary())
    texts = [caption(c, k, v, p) for c in range(8) for k in range(8) for v in range(4) for p in ("", "a 3d render of")]
    for text in texts:
        assert set(text.replace(",", " ,").split()) <= words


def test_class_and_color_of_a_prompt_are_parsed() -> None:
    for c in range(8):
        for color in (None, *range(8)):
            assert named_attributes(caption(c, color, 1, "a photo of")) == (c, color)
    assert named_attributes("A RED CAR.") == (7, 0)
    assert named_attributes("a cupcake") == (None, None)
    assert named_attributes("a red and blue car") == (7, None)
    assert named_attributes("") == (None, None)
