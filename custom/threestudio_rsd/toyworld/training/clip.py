"""Contrastive training of the CLIP (Radford et al., 2021)."""

import random
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from .. import captions
from ..world import CLASSES, COLORS
from . import settings
from .augment import shift_blur_noise
from .data import Renders
from .tokenizer import write_clip_tokenizer
from .trainer import TrainingTask, bf16_autocast, train

NAMED_COLOR, NAMED_VIEW = 0.8, 0.4  # share of the captions that name the color, or the view


class ClipTask(TrainingTask):
    """Match images with their captions in a batch."""

    def __init__(self, renders: Renders, held_out: Renders, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.renders, self.held_out, self.tokenizer = renders, held_out, tokenizer
        tower = {
            "hidden_size": 128,
            "intermediate_size": 512,
            "num_attention_heads": 4,
            "projection_dim": 64,
            "hidden_act": "quick_gelu",
        }
        text = {
            **tower,
            "num_hidden_layers": 2,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": tokenizer.model_max_length,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        }
        vision = {**tower, "num_hidden_layers": 4, "image_size": 64, "patch_size": 8}
        self.model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=64))

    def loss(self, batch_size: int) -> Tensor:
        choice = random.Random(int(torch.randint(2**31, ())))
        index = torch.randint(len(self.renders), (batch_size,))
        scenes = self.renders.scenes.select(index)
        color_named = torch.rand(batch_size) < NAMED_COLOR
        view_named = torch.rand(batch_size) < NAMED_VIEW
        classes, colors, views = scenes.object_class, scenes.color, scenes.view
        texts = [
            captions.caption(
                int(classes[i]),
                int(colors[i]) if color_named[i] else None,
                int(views[i]) if view_named[i] else None,
                choice.choice(captions.PREFIXES) if choice.random() < settings.PREFIX else "",
            )
            for i in range(batch_size)
        ]
        # A caption that is also true of another image is not a negative of that image.
        true = classes[:, None] == classes
        true &= (colors[:, None] == colors) | ~color_named
        true &= (views[:, None] == views) | ~view_named
        negative = ~true | torch.eye(batch_size, dtype=torch.bool)
        with bf16_autocast():
            pixels = shift_blur_noise(self.renders.batch(index)) * 2 - 1
            output = self.model(input_ids=self.tokens(texts), pixel_values=pixels)
        logits = output.logits_per_image.float().masked_fill(~negative, -torch.inf)
        target = torch.arange(batch_size)
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2

    def after_step(self) -> None:
        with torch.no_grad():
            self.model.logit_scale.clamp_(max=4.6)  # a factor of 100, as in CLIP

    def evaluate(self, model: Any) -> dict[str, float]:
        texts = [captions.caption(c, k) for c in range(len(CLASSES)) for k in range(len(COLORS))]
        scenes = self.held_out.scenes.select(slice(0, 1024))
        tokens = self.tokens(texts)
        predicted = torch.cat(
            [
                model(input_ids=tokens, pixel_values=self.held_out.batch(part) * 2 - 1).logits_per_image.argmax(1)
                for part in torch.arange(len(scenes)).split(128)
            ]
        )
        right = predicted == scenes.object_class * len(COLORS) + scenes.color
        return {"class and color": right.float().mean().item()}

    def tokens(self, texts: list[str]) -> Tensor:
        """Tokens (N, L) of N texts."""
        tokens: Tensor = self.tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids
        return tokens


def train_clip(renders: Renders, held_out: Renders, work: Path, output: Path) -> None:
    """Train the CLIP and save it with its tokenizer.

    Args:
        renders: training images.
        held_out: images for the log.
        work: folder of the checkpoints and the log.
        output: folder of the trained network.
    """
    tokenizer = write_clip_tokenizer(output)
    torch.manual_seed(settings.SEED)
    clip = train(ClipTask(renders, held_out, tokenizer), settings.CLIP, work)
    clip.save_pretrained(output, safe_serialization=True)
