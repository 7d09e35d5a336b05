"""Self-supervised training of the feature network by DINO (Caron et al., 2021), without labels.

From a crop of an image, a student predicts the teacher's probabilities of prototypes for another crop; the teacher is
a moving average of the student. On this data set, color alone soon suffices for that task, and features that encode
only color are useless as guidance. Therefore the backbone has two heads: `color` compares crops with their original
colors, `shape` compares crops with randomly changed colors, in which only shape and view agree.

The student sees a subset of the patches (Assran et al., 2022), which is also cheaper. The loss adds two terms to
DINO's: an instance-contrastive one, with a queue of past embeddings of the teacher (He et al., 2020), and one that
decorrelates the features (Bardes et al., 2022); without it, and with hidden layers in the heads, the 128 features
spanned about 20 directions. Each part has been tested only in short trials with one seed and several simultaneous
changes.
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

IMAGE, WIDTH, PATCHES = 64, 128, 8  # pixels per side, length of a feature vector, patches per side
# Standard deviation of the initial weights, and scale of the initial position embeddings. With the usual 0.02, the
# class token of such a narrow network starts near the mean of the patches, which encodes only color. In a trial of 200
# steps these values, with a learning rate of 1.5e-3 instead of 1e-3, raised the probe's class accuracy from 47 to 80 %.
INITIAL_WEIGHTS, INITIAL_POSITIONS = 0.08, 0.7

BOTTLENECK, PROTOTYPES = 128, 512  # output width and number of prototypes of each head
# With a teacher temperature of 0.04 only few prototypes were used, and the probe's class accuracy was lower.
STUDENT_TEMPERATURE, TEACHER_TEMPERATURE = 0.1, 0.07
CONTRAST_WEIGHT, CONTRAST_TEMPERATURE, QUEUE = 1.0, 0.06, 2048
DECORRELATION_WEIGHT = 0.2
CENTER_MOMENTUM = 0.9
TEACHER_MOMENTUM = 0.98  # initial value; rises to 1 on a cosine schedule

SIDES = 0.85, 1.0  # range of a crop's side, as a share of the image's side
KEPT_PATCHES = 40  # patches, of 64, that the student sees
KEPT_COLORS = 0.5  # share of the batch on which the head `color` is trained; its task is easier

PROBE_IMAGES, CALIBRATION_IMAGES = 3000, 4096  # numbers of images for the probe and for `standardize_features`


def random_crops(images: Tensor) -> Tensor:
    """Random square crop of each image (N, 3, H, H), resized to (N, 3, H, H)."""
    count = len(images)
    side = SIDES[0] + (SIDES[1] - SIDES[0]) * torch.rand(count)
    transform = torch.zeros(count, 2, 3)
    transform[:, 0, 0] = transform[:, 1, 1] = side
    transform[:, :, 2] = (1 - side)[:, None] * (2 * torch.rand(count, 2) - 1)
    grid = F.affine_grid(transform, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False, padding_mode="border")


def change_colors(images: Tensor) -> Tensor:
    """Images (N, 3, H, W) in [0, 1] with random hue, saturation, contrast and brightness, some of them inverted."""
    count = len(images)
    gray = torch.full((3, 3), 1 / 3)
    quarter_turn = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / 3**0.5  # around the gray axis
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
    """Cross-entropy of identifying the positive of each unit vector (N, D) among all positives and others (M, D)."""
    cosines = directions @ torch.cat([positives, others]).T
    return F.cross_entropy(cosines / CONTRAST_TEMPERATURE, torch.arange(len(directions)))


def decorrelation_loss(features: Tensor) -> Tensor:
    """Sum of the squared correlations of different features over a batch (N, D), divided by D."""
    standardized = (features - features.mean(0)) / (features.std(0, correction=0) + 1e-4)
    correlations = standardized.T @ standardized / len(features)
    return (correlations - correlations.diag().diag()).square().sum() / features.shape[1]


def keep_some_patches(module: nn.Module, arguments: Any, embedded: Tensor) -> Tensor:
    """Forward hook on a ViT's embeddings (N, 1 + P, D): keeps the class token and KEPT_PATCHES random patches."""
    chosen = 1 + torch.rand(len(embedded), embedded.shape[1] - 1).argsort(1)[:, :KEPT_PATCHES]
    kept = embedded.gather(1, chosen[:, :, None].expand(-1, -1, embedded.shape[2]))
    return torch.cat([embedded[:, :1], kept], dim=1)


class Head(nn.Module):
    """Unit vectors (N, BOTTLENECK) of features (N, WIDTH), and their cosines (N, PROTOTYPES) to learned prototypes.

    Batch normalization (an option in DINO's code) keeps the outputs of different images apart from the first step.
    """

    def __init__(self) -> None:
        super().__init__()
        self.projection = nn.Sequential(
            nn.Linear(WIDTH, BOTTLENECK, bias=False),
            nn.BatchNorm1d(BOTTLENECK, affine=False, track_running_stats=False),
        )
        self.prototypes = nn.Parameter(torch.randn(PROTOTYPES, BOTTLENECK))
        self.register_buffer("center", torch.zeros(PROTOTYPES))  # mean cosines; used in the teacher
        self.register_buffer(
            "queue", F.normalize(torch.randn(QUEUE, BOTTLENECK), dim=-1)
        )  # past unit vectors; used in the teacher

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        directions = F.normalize(self.projection(features), dim=-1)
        return directions, directions @ F.normalize(self.prototypes, dim=-1).T


class DinoTask(TrainingTask):
    """DINO training: gradients update the student; `model` is the teacher, its moving average, which is released."""

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
        """Move the teacher's weights towards the student's."""
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
        attn_implementation="eager",  # with so few tokens its backward pass is twice as fast as that of fused attention
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
    """Set the last layer norm so that each feature has mean 0 and standard deviation 1 over some images.

    Otherwise a large constant part of the features makes the cosine of any two images close to 1.

    Args:
        model: ViT.
        images: (N, 3, 64, 64) in [0, 1].
    """
    features = torch.cat([class_token(model, part) for part in images.split(128)])
    mean, deviation = features.mean(0), features.std(0)
    model.layernorm.weight /= deviation
    model.layernorm.bias.sub_(mean).div_(deviation)


def train_dino(renders: Renders, held_out: Renders, work: Path, output: Path) -> None:
    """Train the feature network and save it.

    Args:
        renders: training images.
        held_out: images for the metrics in the log.
        work: folder of the checkpoints and the log.
        output: folder of the trained network.
    """
    torch.manual_seed(settings.SEED)
    network: Any = train(DinoTask(renders, held_out), settings.DINO, work)
    standardize_features(network, renders.batch(torch.arange(min(CALIBRATION_IMAGES, len(renders)))))
    network.save_pretrained(output, safe_serialization=True)
