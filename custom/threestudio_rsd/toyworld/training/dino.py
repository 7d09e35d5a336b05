"""Self-supervised training of the feature network by DINO (Caron et al., 2021), without labels.

A student predicts, from a crop of an image, which prototypes its teacher gives to another crop; the teacher is the
student's moving average. In this world colours alone satisfy that early, and a network that sees colours alone is of
no use as a guide. So one backbone carries two heads: `colour` compares crops that keep their colours, and `shape` is
asked about crops whose colours are changed at random, which leaves it form and view.

DINOv2's KoLeo regulariser (Oquab et al., 2024) keeps each head from joining different images in a few prototypes.
"""

import copy
import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import ViTConfig, ViTModel

from ..check import probe_rows
from . import settings
from .augment import shift_blur_noise
from .data import Renders
from .trainer import Task, bf16_autocast, train

WIDTH, PATCHES = 128, 8  # of a feature, and along a side of an image
# Wide networks start from weights of 0.02. One as narrow as this would first see a mean of its patches, hence colours,
# and places only after thousands of steps: both numbers together took the probe of the class from 47 to 80 % in 200.
INITIAL_WEIGHTS, INITIAL_POSITIONS = 0.08, 0.7

HIDDEN, BOTTLENECK, PROTOTYPES = 256, 64, 512  # of each head
STUDENT_TEMPERATURE = 0.1
TEACHER_TEMPERATURES, TEACHER_WARM_UP = (0.04, 0.07), 0.3  # rises during this share of the training
KOLEO_WEIGHT = 0.3
CENTRE_MOMENTUM = 0.9
TEACHER_MOMENTUM = 0.99  # rises to 1 by a cosine

TEACHER_SIZE, STUDENT_SIZE = 64, 48  # pixels; smaller crops for the student halve the cost of a step
TEACHER_SIDES, STUDENT_SIDES = (0.7, 1.0), (0.65, 1.0)  # of the crops, as shares of the image's side

PROBE_IMAGES, CALIBRATION_IMAGES = 3000, 4096


def random_crops(images: Tensor, sides: tuple[float, float], size: int) -> Tensor:
    """A square crop (N, 3, size, size) of each image, its side a random share of the image's; half are mirrored."""
    count = len(images)
    side = sides[0] + (sides[1] - sides[0]) * torch.rand(count)
    transform = torch.zeros(count, 2, 3)
    transform[:, 0, 0] = side * (2 * torch.randint(2, (count,)) - 1)
    transform[:, 1, 1] = side
    transform[:, :, 2] = (1 - side)[:, None] * (2 * torch.rand(count, 2) - 1)
    grid = F.affine_grid(transform, [count, 3, size, size], align_corners=False)
    return F.grid_sample(images, grid, align_corners=False, padding_mode="border")


def change_colours(images: Tensor) -> Tensor:
    """Images (N, 3, H, W) in [0, 1] with random hue, saturation, contrast and brightness each, some as negatives."""
    count = len(images)
    grey = torch.full((3, 3), 1 / 3)
    quarter_turn = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / 3**0.5  # about the grey axis
    angle = 2 * math.pi * torch.rand(count, 1, 1)
    saturation = 1.2 * torch.rand(count, 1, 1)
    turn = grey + saturation * (angle.cos() * (torch.eye(3) - grey) + angle.sin() * quarter_turn)
    sign = torch.where(torch.rand(count, 1, 1) < 0.3, -1.0, 1.0)
    contrast = 0.6 + 0.6 * torch.rand(count, 1, 1)
    brightness = 0.5 + 0.2 * (2 * torch.rand(count, 1, 1, 1) - 1)
    return (torch.einsum("nij,njhw->nihw", sign * contrast * turn, images - 0.5) + brightness).clamp(0, 1)


def teacher_targets(cosines: Tensor, centre: Tensor, temperature: float) -> Tensor:
    """Probabilities of the prototypes (N, K), centred and sharpened: softmax((g_t - c) / tau_t)."""
    return F.softmax((cosines - centre) / temperature, dim=-1)


def dino_loss(targets: Tensor, cosines: Tensor) -> Tensor:
    """Mean cross-entropy of the student's softmax(g_s / tau_s) to the teacher's probabilities, both (N, K)."""
    return -(targets * F.log_softmax(cosines / STUDENT_TEMPERATURE, dim=-1)).sum(-1).mean()


def koleo(directions: Tensor) -> Tensor:
    """Minus the mean logarithm of the distance of each unit vector (N, D) to its nearest neighbour."""
    nearest = (directions @ directions.T).fill_diagonal_(-torch.inf).argmax(1)
    return -((directions - directions[nearest]).norm(dim=1) + 1e-6).log().mean()


class Head(nn.Module):
    """Features (N, WIDTH) to directions (N, BOTTLENECK), and their cosines (N, PROTOTYPES) to the prototypes.

    Batch normalisation (an option in the paper's code) makes images differ from the first step on.
    """

    def __init__(self) -> None:
        super().__init__()
        self.projection = nn.Sequential(
            nn.Linear(WIDTH, HIDDEN, bias=False),
            nn.BatchNorm1d(HIDDEN, track_running_stats=False),
            nn.GELU(),
            nn.Linear(HIDDEN, BOTTLENECK, bias=False),
            nn.BatchNorm1d(BOTTLENECK, affine=False, track_running_stats=False),
        )
        self.prototypes = nn.Parameter(torch.randn(PROTOTYPES, BOTTLENECK))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        directions = F.normalize(self.projection(features).float(), dim=-1)
        return directions, F.linear(directions, F.normalize(self.prototypes, dim=-1)).float()


class DinoTask(Task):
    """`model` is the teacher's network, which ships; gradients go to the student's."""

    centre_colour: Tensor
    centre_shape: Tensor

    def __init__(self, renders: Renders, held_out: Renders) -> None:
        super().__init__()
        self.renders, self.held_out = renders, held_out
        self.student, self.student_heads = _vision_transformer(), _heads()
        self.model = copy.deepcopy(self.student).requires_grad_(False)
        self.teacher_heads = copy.deepcopy(self.student_heads).requires_grad_(False)
        for name in self.teacher_heads:
            self.register_buffer(f"centre_{name}", torch.zeros(PROTOTYPES))

    def loss(self, batch_size: int) -> Tensor:
        images = self.renders.batch(torch.randint(len(self.renders), (batch_size,)))
        kept = random_crops(images, STUDENT_SIDES, STUDENT_SIZE)
        changed = change_colours(random_crops(images, STUDENT_SIDES, STUDENT_SIZE))
        with bf16_autocast():
            with torch.no_grad():
                crops = random_crops(images, TEACHER_SIDES, TEACHER_SIZE)
                teacher = class_token(self.model, shift_blur_noise(crops))
            student = class_token(self.student, torch.cat([shift_blur_noise(kept), shift_blur_noise(changed)]))
            of_kept, of_changed = student.chunk(2)
            return self._head_loss("colour", teacher, of_kept) + self._head_loss("shape", teacher, of_changed)

    def _head_loss(self, name: str, teacher: Tensor, student: Tensor) -> Tensor:
        directions, cosines = self.student_heads[name](student)
        return dino_loss(self._targets(name, teacher), cosines) + KOLEO_WEIGHT * koleo(directions.float())

    @torch.no_grad()
    def _targets(self, name: str, features: Tensor) -> Tensor:
        """The teacher's probabilities; the centre then moves towards the mean of these cosines."""
        _, cosines = self.teacher_heads[name](features)
        centre = getattr(self, f"centre_{name}")
        first, last = TEACHER_TEMPERATURES
        temperature = first + (last - first) * min(1.0, self.fraction / TEACHER_WARM_UP)
        targets = teacher_targets(cosines, centre, temperature)
        centre.lerp_(cosines.mean(0), 1 - CENTRE_MOMENTUM)
        return targets

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
    """Features (N, WIDTH) of images (N, 3, H, W) in [0, 1]; positions are interpolated where the size is not 64."""
    interpolate = images.shape[-1] != TEACHER_SIZE
    return model(images * 2 - 1, interpolate_pos_encoding=interpolate).last_hidden_state[:, 0]


def _features(model: nn.Module, renders: Renders, index: Tensor) -> Tensor:
    with bf16_autocast():
        return torch.cat([class_token(model, renders.batch(part)).float() for part in index.split(128)])


def _heads() -> nn.ModuleDict:
    return nn.ModuleDict({"colour": Head(), "shape": Head()})


def _vision_transformer() -> ViTModel:
    config = ViTConfig(
        hidden_size=WIDTH,
        num_hidden_layers=5,
        num_attention_heads=4,
        intermediate_size=4 * WIDTH,
        image_size=TEACHER_SIZE,
        patch_size=TEACHER_SIZE // PATCHES,
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
def standardise_features(model: Any, images: Tensor) -> None:
    """Give every feature mean 0 and deviation 1 over images (N, 3, 64, 64) in [0, 1], by the last layer norm.

    Without it all features share a large constant part, and every two images have a cosine near 1.
    """
    features = torch.cat([class_token(model, part) for part in images.split(128)])
    mean, deviation = features.mean(0), features.std(0)
    model.layernorm.weight /= deviation
    model.layernorm.bias.sub_(mean).div_(deviation)


def train_dino(renders: Renders, held_out: Renders, work: Path, output: Path) -> None:
    """Train the feature network and write it into the folder `output`."""
    torch.manual_seed(settings.SEED)
    network: Any = train(DinoTask(renders, held_out), settings.DINO, work)
    standardise_features(network, renders.batch(torch.arange(min(CALIBRATION_IMAGES, len(renders)))))
    network.save_pretrained(output, safe_serialization=True)
