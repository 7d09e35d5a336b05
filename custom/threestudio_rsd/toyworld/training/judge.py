"""Training of the judge: a supervised classifier of every attribute."""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from ..judge import ToyworldJudge
from ..truth import accuracy
from . import settings
from .augment import shift_blur_noise
from .data import Renders
from .trainer import TrainingTask, bf16_autocast, train


class JudgeTask(TrainingTask):
    """Classify every attribute of an image."""

    def __init__(self, renders: Renders, held_out: Renders) -> None:
        super().__init__()
        self.model = ToyworldJudge()
        self.renders, self.held_out = renders, held_out
        self.labels, self.true_labels = renders.scenes.labels(), held_out.scenes.labels()

    def loss(self, batch_size: int) -> Tensor:
        index = torch.randint(len(self.renders), (batch_size,))
        with bf16_autocast():
            logits = self.model(shift_blur_noise(self.renders.batch(index)))
        losses = [F.cross_entropy(logits[name].float(), labels[index]) for name, labels in self.labels.items()]
        return torch.stack(losses).sum()

    def evaluate(self, model: Any) -> dict[str, float]:
        index = torch.arange(len(self.held_out))
        predicted = [model.predict(self.held_out.batch(part)) for part in index.split(256)]
        return {
            name: accuracy(torch.cat([part[name] for part in predicted]), labels)
            for name, labels in self.true_labels.items()
        }


def train_judge(renders: Renders, held_out: Renders, work: Path, output: Path) -> None:
    """Train the judge and save its weights.

    Args:
        renders: training images.
        held_out: images for the log.
        work: folder of the checkpoints and the log.
        output: folder of the trained network.
    """
    torch.manual_seed(settings.SEED)
    judge = train(JudgeTask(renders, held_out), settings.JUDGE, work)
    output.mkdir(parents=True, exist_ok=True)
    save_file(judge.state_dict(), output / "model.safetensors", metadata={"format": "pt"})
