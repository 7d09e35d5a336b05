"""Training loop: learning, averaging of weights, log and exact resumption."""

import json

import pytest
import torch
from threestudio_rsd.toyworld.training import trainer
from threestudio_rsd.toyworld.training.settings import Optimization
from threestudio_rsd.toyworld.training.trainer import TrainingTask, train
from torch import Tensor, nn

from tests.library_versions import needs_training_libraries

pytestmark = needs_training_libraries

OPTIMIZATION = Optimization(
    steps=120, batch_size=8, learning_rate=0.2, warmup=5, weight_decay=0.0, average=0.9, evaluate_every=20
)


class Regression(TrainingTask):
    """Linear regression of y = 2 x + 1 from noisy samples."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.model = nn.Linear(1, 1)

    def loss(self, batch_size: int) -> Tensor:
        x = torch.randn(batch_size, 1)
        return (self.model(x) - 2 * x - 1 - 0.01 * torch.randn_like(x)).pow(2).mean()

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        return {"slope": model.weight.item()}


class Killed(Regression):
    """Regression that is interrupted after some steps."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.left = after

    def after_step(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def test_training_reduces_the_loss_and_writes_a_log(tmp_path) -> None:
    model = train(Regression(), OPTIMIZATION, tmp_path)
    assert model.weight.item() == pytest.approx(2, abs=0.05)
    assert model.bias.item() == pytest.approx(1, abs=0.05)
    entries = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert entries[-1]["step"] == entries[-1]["steps"] == 120
    assert entries[-1]["slope"] == pytest.approx(model.weight.item())
    assert entries[-1]["loss"] < entries[0]["loss"]


@pytest.mark.parametrize("killed_after", [7, 25, 119])
def test_resumed_training_equals_uninterrupted_training(
    tmp_path, monkeypatch: pytest.MonkeyPatch, killed_after: int
) -> None:
    monkeypatch.setattr(trainer, "CHECKPOINT_EVERY", 10)
    whole = train(Regression(), OPTIMIZATION, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(Killed(killed_after), OPTIMIZATION, tmp_path / "parts")
    resumed = train(Regression(), OPTIMIZATION, tmp_path / "parts")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_a_finished_training_is_not_trained_again(tmp_path) -> None:
    first = train(Regression(), OPTIMIZATION, tmp_path)
    again = train(Killed(1), OPTIMIZATION, tmp_path)
    assert torch.equal(first.weight, again.weight)


def test_trained_model_is_the_average_of_the_weights(tmp_path) -> None:
    task = Regression()
    averaged = train(task, OPTIMIZATION, tmp_path)
    assert not torch.equal(averaged.weight, task.model.weight)
    assert averaged.weight.item() == pytest.approx(task.model.weight.item(), abs=0.05)
