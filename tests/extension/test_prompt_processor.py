"""`rsd-prompt-processor`: prompts that are too long keep their words for the direction of view."""

import logging

import pytest
import torch
from threestudio_rsd.extension.prompt_processor import RSDPromptProcessor

LONG = "a very large red mushroom on a green meadow in the early light of the morning sun in the month of may"


@pytest.mark.parametrize("before", [False, True])
def test_long_prompts_keep_the_direction_of_view(before: bool, caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("threestudio_rsd")
    logger.addHandler(caplog.handler)
    processor = RSDPromptProcessor({"prompt": LONG, "view_dependent_prompt_front": before})
    logger.removeHandler(caplog.handler)
    side, front, back, overhead = processor().text_embeddings_vd
    for one, other in ((side, front), (front, back), (back, overhead)):
        assert not torch.allclose(one, other)
    assert "month of may" in "".join(caplog.messages)


def test_short_prompts_are_embedded_as_they_are() -> None:
    processor = RSDPromptProcessor({"prompt": "a mushroom"})
    assert torch.equal(processor().text_embeddings_vd[1], processor.load_from_cache("a mushroom, front view"))


def test_a_prompt_of_the_users_own_for_a_direction_has_no_words_to_keep() -> None:
    own = f"the face of {LONG}"
    processor = RSDPromptProcessor({"prompt": "a mushroom", "prompt_front": own})
    front, back = processor().text_embeddings_vd[1:3]
    assert not torch.allclose(front, back)
