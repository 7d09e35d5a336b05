"""Self-supervised training of the feature network by DINO (Caron et al., 2021), without labels.

A student predicts, from a crop of an image, which prototypes its teacher gives to another crop; the teacher is the
student's moving average. In this world colors alone satisfy that early, and a network that sees colors alone is of
no use as a guide. So one backbone carries two heads: `color` compares crops that keep their colors, and `shape`
compares crops whose colors are changed at random, so that only form and view remain.

The student sees a part of the patches (Assran et al., 2022), which also costs less. Beside DINO's own loss there are
an instance-contrastive one, with a queue of the teacher's past embeddings (He et al., 2020), and one that decorrelates
the features (Bardes et al., 2022): with hidden layers in the heads and no decorrelation, 128 features spanned about 20
directions. The benefit of each has been seen only in short trials with one seed, with several changes at a time.
"""

import copy
import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import ViTConfig, ViTModel

from ..check.probe import probe_rows
from . import settings
from .augment import shift_blur_noise
from .data import Renders
from .trainer import TrainingTask, bf16_autocast, train

IMAGE, WIDTH, PATCHES = 64, 128, 8  # pixels, of a feature, and along a side of an image
# Wide networks start from weights of 0.02; in one as narrow as this the class token then is about the mean of the
# patches, hence colors. In a trial of 200 steps these numbers, with a learning rate of 1.5e-3 for 1e-3, took the probe
# of the class from 47 to 80 %.
INITIAL_WEIGHTS, INITIAL_POSITIONS = 0.08, 0.7

BOTTLENECK, PROTOTYPES = 128, 512  # of each head
# At 0.04 the teacher came to use few prototypes, and the probe of the class was worse.
STUDENT_TEMPERATURE, TEACHER_TEMPERATURE = 0.1, 0.07
CONTRAST_WEIGHT, CONTRAST_TEMPERATURE, QUEUE = 1.0, 0.06, 2048
DECORRELATION_WEIGHT = 0.2
CENTER_MOMENTUM = 0.9
TEACHER_MOMENTUM = 0.98  # rises to 1 by a cosine

SIDES = 0.85, 1.0  # of the crops, as shares of the image's side
KEPT_PATCHES = 40  # of 64, for the student
KEPT_COLORS = 0.5  # share of the batch that the head `color` is trained on: it has the easier task

PROBE_IMAGES, CALIBRATION_IMAGES = 3000, 4096


def random_crops(images: Tensor) -> Tensor:
    """A square crop of each image (N, 3, H, H), in its size, the side a random share of the image's."""
    count = len(images)
    side = SIDES[0] + (SIDES[1] - SIDES[0]) * torch.rand(count)
    transform = torch.zeros(count, 2, 3)
    transform[:, 0, 0] = transform[:, 1, 1] = side
    transform[:, :, 2] = (1 - side)[:, None] * (2 * torch.rand(count, 2) - 1)
    grid = F.affine_grid(transform, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False, padding_mode="border")


def change_colors(images: Tensor) -> Tensor:
    """Images (N, 3, H, W) in [0, 1] with random hue, saturation, contrast and brightness each, some as negatives."""
    count = len(images)
    gray = torch.full((3, 3), 1 / 3)
    quarter_turn = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / 3**0.5  # about the gray axis
    angle = 2 * math.pi * torch.rand(count, 1, 1)
    saturation = 1.2 * torch.rand(count, 1, 1)
    turn = gray + saturation * (angle.cos() * (torch.eye(3) - gray) + angle.sin() * quarter_turn)
    sign = torch.where(torch.rand(count, 1, 1) < 0.3, -1.0, 1.0)
    contrast = 0.6 + 0.6 * torch.rand(count, 1, 1)
    brightness = 0.5 + 0.2 * (2 * torch.rand(count, 1, 1, 1) - 1)
    return (torch.einsum("nij,njhw->nihw", sign * contrast * turn, images - 0.5) + brightness).clamp(0, 1)


def teacher_targets(cosines: Tensor, center: Tensor) -> Tensor:
    """Probabilities of the prototypes (N, K), centered and sharpened: softmax((g_t - c) / tau_t)."""
    return F.softmax((cosines - center) / TEACHER_TEMPERATURE, dim=-1)


def dino_loss(targets: Tensor, cosines: Tensor) -> Tensor:
    """Mean cross-entropy of the student's softmax(g_s / tau_s) to the teacher's probabilities, both (N, K)."""
    return -(targets * F.log_softmax(cosines / STUDENT_TEMPERATURE, dim=-1)).sum(-1).mean()


def contrastive_loss(directions: Tensor, positives: Tensor, others: Tensor) -> Tensor:
    """Cross-entropy of finding each student's unit vector (N, D) its positive among all positives and others (M, D)."""
    cosines = directions @ torch.cat([positives, others]).T
    return F.cross_entropy(cosines / CONTRAST_TEMPERATURE, torch.arange(len(directions)))


def decorrelation_loss(features: Tensor) -> Tensor:
    """Sum of the squared correlations of different features over a batch (N, D), divided by D."""
    standardized = (features - features.mean(0)) / (features.std(0, correction=0) + 1e-4)
    correlations = standardized.T @ standardized / len(features)
    return (correlations - correlations.diag().diag()).square().sum() / features.shape[1]


def keep_some_patches(module: nn.Module, arguments: Any, embedded: Tensor) -> Tensor:
    """Forward hook of a ViT's embeddings (N, 1 + P, D): the class token and KEPT_PATCHES random ones of each image."""
    chosen = 1 + torch.rand(len(embedded), embedded.shape[1] - 1).argsort(1)[:, :KEPT_PATCHES]
    kept = embedded.gather(1, chosen[:, :, None].expand(-1, -1, embedded.shape[2]))
    return torch.cat([embedded[:, :1], kept], dim=1)


class Head(nn.Module):
    """Features (N, WIDTH) to directions (N, BOTTLENECK), and their cosines (N, PROTOTYPES) to the prototypes.

    Batch normalization (an option in the paper's code) makes images differ from the first step on.
    """

    def __init__(self) -> None:
        super().__init__()
        self.projection = nn.Sequential(
            nn.Linear(WIDTH, BOTTLENECK, bias=False),
            nn.BatchNorm1d(BOTTLENECK, affine=False, track_running_stats=False),
        )
        self.prototypes = nn.Parameter(torch.randn(PROTOTYPES, BOTTLENECK))
        self.register_buffer("center", torch.zeros(PROTOTYPES))  # of the cosines; the teacher's is in use
        self.register_buffer("queue", F.normalize(torch.randn(QUEUE, BOTTLENECK), dim=-1))  # past directions, too

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        directions = F.normalize(self.projection(features), dim=-1)
        return directions, directions @ F.normalize(self.prototypes, dim=-1).T


class DinoTask(TrainingTask):
    """Train a student by gradients; `model` is its teacher, a moving average, which ships."""

    def __init__(self, renders: Renders, held_out: Renders) -> None:
        super().__init__()
        self.renders, self.held_out = renders, held_out
        self.student, self.student_heads = _vision_transformer(), _heads()
        self.model = copy.deepcopy(self.student).requires_grad_(False)
        self.teacher_heads = copy.deepcopy(self.student_heads).requires_grad_(False)

    def loss(self, batch_size: int) -> Tensor:
        images = self.renders.batch(torch.randint(len(self.renders), (batch_size,)))
        same = int(KEPT_COLORS * batch_size)
        crops = torch.cat([random_crops(images[:same]), change_colors(random_crops(images))])
        with bf16_autocast():
            with torch.no_grad():
                teacher = class_token(self.model, shift_blur_noise(random_crops(images)))
            with self.student.embeddings.register_forward_hook(keep_some_patches):
                student = class_token(self.student, shift_blur_noise(crops))
        color = self._head_loss("color", teacher[:same], student[:same])
        shape = self._head_loss("shape", teacher, student[same:])
        return color + shape + DECORRELATION_WEIGHT * decorrelation_loss(student[same:].float())

    def _head_loss(self, name: str, teacher: Tensor, student: Tensor) -> Tensor:
        """Loss of one head for features (N, WIDTH); updates the teacher's center and queue."""
        head: Any = self.teacher_heads[name]
        with torch.no_grad():
            positives, cosines = head(teacher.float())
            targets = teacher_targets(cosines, head.center)
            others = head.queue.clone()
            head.center.lerp_(cosines.mean(0), 1 - CENTER_MOMENTUM)
            head.queue.copy_(torch.cat([positives, others])[:QUEUE])
        directions, cosines = self.student_heads[name](student.float())
        return dino_loss(targets, cosines) + CONTRAST_WEIGHT * contrastive_loss(directions, positives, others)

    @torch.no_grad()
    def after_step(self) -> None:
        share = (1 - TEACHER_MOMENTUM) * 0.5 * (1 + math.cos(math.pi * self.fraction))
        for teacher, student in ((self.model, self.student), (self.teacher_heads, self.student_heads)):
            torch._foreach_lerp_(list(teacher.parameters()), list(student.parameters()), share)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        some = torch.arange(min(PROBE_IMAGES, len(self.renders)))
        features = _features(model, self.renders, some)
        test_features = _features(model, self.held_out, torch.arange(len(self.held_out)))
        with torch.enable_grad():
            rows = probe_rows(
                features, self.renders.scenes.select(some).labels(), test_features, self.held_out.scenes.labels()
            )
        return {row.measure.rpartition(" ")[2]: row.measured for row in rows}


def class_token(model: Any, images: Tensor) -> Tensor:
    """Features (N, WIDTH) of images (N, 3, 64, 64) in [0, 1]."""
    features: Tensor = model(images * 2 - 1).last_hidden_state[:, 0]
    return features


def _features(model: nn.Module, renders: Renders, index: Tensor) -> Tensor:
    with bf16_autocast():
        return torch.cat([class_token(model, renders.batch(part)).float() for part in index.split(128)])


def _heads() -> nn.ModuleDict:
    return nn.ModuleDict({"color": Head(), "shape": Head()})


def _vision_transformer() -> ViTModel:
    config = ViTConfig(
        hidden_size=WIDTH,
        num_hidden_layers=5,
        num_attention_heads=4,
        intermediate_size=4 * WIDTH,
        image_size=IMAGE,
        patch_size=IMAGE // PATCHES,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=INITIAL_WEIGHTS,
        attn_implementation="eager",  # its backward pass is twice as fast as the fused one's on so few positions
    )
    model = ViTModel(config, add_pooling_layer=False)
    place = torch.arange(PATCHES)
    y, x = (axis.flatten()[:, None] for axis in torch.meshgrid(place, place, indexing="ij"))
    frequency = math.pi / 2 / PATCHES * torch.logspace(0, 3, WIDTH // 4, base=2)
    waves = torch.cat([wave(axis * frequency) for axis in (x, y) for wave in (torch.sin, torch.cos)], dim=1)
    model.embeddings.position_embeddings.data[0, 1:] = INITIAL_POSITIONS * waves
    return model


@torch.no_grad()
def standardize_features(model: Any, images: Tensor) -> None:
    """Give every feature mean 0 and deviation 1 over images (N, 3, 64, 64) in [0, 1], by the last layer norm.

    Without it all features share a large constant part, and every two images have a cosine near 1.
    """
    features = torch.cat([class_token(model, part) for part in images.split(128)])
    mean, deviation = features.mean(0), features.std(0)
    model.layernorm.weight /= deviation
    model.layernorm.bias.sub_(mean).div_(deviation)


def train_dino(renders: Renders, held_out: Renders, work: Path, output: Path) -> None:
    """Train the feature network and save it.

    Args:
        renders: training images.
        held_out: images for the log.
        work: folder of the checkpoints and the log.
        output: folder of the trained network.
    """
    torch.manual_seed(settings.SEED)
    network: Any = train(DinoTask(renders, held_out), settings.DINO, work)
    standardize_features(network, renders.batch(torch.arange(min(CALIBRATION_IMAGES, len(renders)))))
    network.save_pretrained(output, safe_serialization=True)
