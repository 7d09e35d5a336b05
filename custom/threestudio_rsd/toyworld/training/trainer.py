"""The loop that every network of the bundled world is trained by: it can be killed at any step and goes on later."""

import json
import math
import os
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from .settings import SEED, Optimization

CHECKPOINT_EVERY = 250  # steps
LOG_EVERY = 25  # steps


class TrainingTask(nn.Module):
    """What a training of the bundled world owes: a `model` to train, its loss on a batch, and its measures.

    Everything in a task's state dict is kept in its checkpoints. Every random draw comes from torch's default
    generator, which the trainer seeds anew at each step: nothing else needs to be stored for an exact resume.
    """

    model: Any  # an nn.Module, of the subclass's own kind

    def loss(self, batch_size: int) -> Tensor:
        """Loss of a random batch; `fraction`, set before, is the part of the training that is over, in [0, 1)."""
        raise NotImplementedError

    def after_step(self) -> None:
        """What follows an optimizer step."""

    def evaluate(self, model: Any) -> dict[str, float]:
        """Measures on held-out images, for the log."""
        return {}

    fraction: float = 0.0


def train(task: TrainingTask, optimization: Optimization, folder: Path) -> Any:
    """Train `task.model`, from the checkpoint in `folder` if there is one; returns its averaged weights in eval mode.

    Writes `checkpoint.pt` and `log.jsonl` (step, steps, loss, seconds, and the measures) into the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parameters = [parameter for parameter in task.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        parameters, optimization.learning_rate, betas=optimization.betas, weight_decay=optimization.weight_decay
    )
    average = AveragedModel(task.model, multi_avg_fn=_averaging(optimization.average))
    first, seconds = _resume(folder, task, average, optimizer)

    started, losses = time.time() - seconds, []
    for step in range(first, optimization.steps):
        torch.manual_seed(SEED * 1_000_003 + step)
        task.fraction = step / optimization.steps
        for group in optimizer.param_groups:
            group["lr"] = optimization.learning_rate * _schedule(step, optimization)
        task.train()
        loss = task.loss(optimization.batch_size)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        task.after_step()
        average.update_parameters(task.model)

        losses.append(loss.item())
        done = step + 1
        if done % LOG_EVERY == 0 or done == optimization.steps:
            entry = {"step": done, "steps": optimization.steps, "loss": sum(losses) / len(losses)}
            entry["seconds"] = round(time.time() - started, 1)
            if done % optimization.evaluate_every == 0 or done == optimization.steps:
                with torch.no_grad():
                    entry |= task.evaluate(average.module.eval())
            with open(folder / "log.jsonl", "a") as log:
                log.write(json.dumps(entry) + "\n")
            losses = []
        if done % CHECKPOINT_EVERY == 0 or done == optimization.steps:
            _checkpoint(folder, task, average, optimizer, done, time.time() - started)
    return average.module.eval()


def bf16_autocast() -> torch.autocast:
    """Half precision for the matrix products where the processor has instructions for it."""
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()
    return torch.autocast("cpu", torch.bfloat16, enabled=supported)


def _schedule(step: int, optimization: Optimization) -> float:
    cosine = 0.5 * (1 + math.cos(math.pi * step / optimization.steps))
    warmup = min(1.0, (step + 1) / optimization.warmup)
    return warmup * (optimization.final_share + (1 - optimization.final_share) * cosine)


def _averaging(decay: float):
    """Moving average whose memory grows with the training, up to `decay`."""

    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], count: Tensor | int) -> None:
        grown = (1 + int(count)) / (10 + int(count))
        torch._foreach_lerp_(averaged, current, 1 - min(decay, grown))

    return update


def _checkpoint(
    folder: Path,
    task: TrainingTask,
    average: AveragedModel,
    optimizer: torch.optim.Optimizer,
    step: int,
    seconds: float,
) -> None:
    state = {
        "task": task.state_dict(),
        "average": average.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": step,
        "seconds": seconds,
    }
    temporary = folder / "checkpoint.tmp"
    torch.save(state, temporary)
    os.replace(temporary, folder / "checkpoint.pt")


def _resume(
    folder: Path, task: TrainingTask, average: AveragedModel, optimizer: torch.optim.Optimizer
) -> tuple[int, float]:
    """Steps that are done, and the seconds that they took."""
    file = folder / "checkpoint.pt"
    if not file.is_file():
        return 0, 0.0
    state = torch.load(file, map_location="cpu", weights_only=True)
    task.load_state_dict(state["task"])
    average.load_state_dict(state["average"])
    optimizer.load_state_dict(state["optimizer"])
    return state["step"], state["seconds"]
