"""Base class of the trainings of text-to-image models: images and random captions of them."""

import random
from typing import Any

import torch
from torch import Tensor

from ..captions import random_caption
from . import settings
from .data import Renders
from .trainer import TrainingTask


class CaptionTask(TrainingTask):
    """Training on images with random captions; subclasses provide the clean samples and the loss.

    Args:
        renders: training images.
        model: network that is trained.
        tokenizer: tokenizer of the captions.
    """

    def __init__(self, renders: Renders, model: Any, tokenizer: Any) -> None:
        super().__init__()
        self.model, self.tokenizer = model, tokenizer
        scenes = renders.scenes
        self.attributes = torch.stack([scenes.object_class, scenes.color, scenes.view], dim=1)
        self.token_cache: dict[str, Tensor] = {}

    def clean_samples(self, index: Tensor) -> Tensor:
        """Clean samples (N, C, H, W) of the training data.

        Args:
            index: indices of the images, (N,).
        """
        raise NotImplementedError

    def random_index(self, batch_size: int) -> Tensor:
        """Indices of random images, (batch_size,)."""
        return torch.randint(len(self.attributes), (batch_size,))

    def random_tokens(self, index: Tensor) -> Tensor:
        """Tokens (N, L) of random captions of some images."""
        choice = random.Random(int(torch.randint(2**31, ())))
        shares = (settings.NAMED_COLOR, settings.NAMED_VIEW, settings.PREFIX, settings.EMPTY)
        texts = [
            random_caption(object_class, color, view, choice, *shares)
            for object_class, color, view in self.attributes[index].tolist()
        ]
        for text in set(texts) - self.token_cache.keys():
            self.token_cache[text] = self.tokens(text)
        return torch.stack([self.token_cache[text] for text in texts])

    def tokens(self, text: str) -> Tensor:
        """Tokens (L,) of one caption."""
        return padded_tokens(self.tokenizer, text)


def padded_tokens(tokenizer: Any, text: str) -> Tensor:
    """Tokens (L,) of a text, padded to the tokenizer's largest number of them."""
    tokens = tokenizer(
        text, padding="max_length", truncation=True, max_length=tokenizer.model_max_length, return_tensors="pt"
    )
    ids: Tensor = tokens.input_ids[0]
    return ids


def random_times(n: int) -> Tensor:
    """Random numbers, one in each of N equal parts of [0, 1), in random order, for a gradient with less noise; (N,)."""
    return (torch.randperm(n) + torch.rand(n)) / n
