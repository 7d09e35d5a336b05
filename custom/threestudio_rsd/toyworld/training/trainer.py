"""Training loop of the bundled world's networks, with checkpoints from which it resumes exactly."""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from .settings import SEED, Optimization

CHECKPOINT_EVERY = 250  # steps
LOG_EVERY = 25  # steps

Tensors = tuple[Tensor, ...] | list[Tensor]


class TrainingTask(nn.Module):
    """Base class of a training: a `model`, its loss on a random batch, and its metrics.

    Checkpoints hold the task's state dict. All random draws come from torch's default generator, which `train` seeds at
    each step, so that the random state need not be stored.
    """

    model: Any  # an nn.Module; its class depends on the subclass
    device: torch.device | str = "cpu"  # device of the training; a subclass whose batches follow it may set it

    def loss(self, batch_size: int) -> Tensor:
        """Loss of a random batch; `fraction` holds the finished part of the training, in [0, 1).

        Args:
            batch_size: number of images.
        """
        raise NotImplementedError

    def after_step(self) -> None:
        """Called after each optimizer step."""

    def evaluate(self, model: Any) -> dict[str, float]:
        """Metrics on held-out images, for the log.

        Args:
            model: averaged model in eval mode.
        """
        return {}

    fraction: float = 0.0


def train(task: TrainingTask, optimization: Optimization, folder: Path) -> Any:
    """Train `task.model`, resuming from the checkpoint in `folder` if there is one.

    Args:
        task: model, loss and metrics.
        optimization: settings of the optimizer.
        folder: folder of `checkpoint.pt` and `log.jsonl` (step, steps, loss, seconds, and the metrics).

    Returns:
        The model with averaged weights, in eval mode, on the CPU.
    """
    folder.mkdir(parents=True, exist_ok=True)
    task.to(task.device)
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

        losses.append(loss.detach())  # reading its value would make the CPU wait for a GPU in each step
        done = step + 1
        if done % LOG_EVERY == 0 or done == optimization.steps:
            entry = {"step": done, "steps": optimization.steps, "loss": float(torch.stack(losses).mean())}
            entry["seconds"] = round(time.time() - started, 1)
            if done % optimization.evaluate_every == 0 or done == optimization.steps:
                with torch.no_grad():
                    entry |= task.evaluate(average.module.eval())
            with (folder / "log.jsonl").open("a") as log:
                log.write(json.dumps(entry) + "\n")
            losses = []
        if done % CHECKPOINT_EVERY == 0 or done == optimization.steps:
            _checkpoint(folder, task, average, optimizer, done, time.time() - started)
    return average.module.eval().cpu()


def bf16_autocast(device: torch.device | str = "cpu") -> torch.autocast:
    """bfloat16 autocast on a GPU, and on a processor that has instructions for it; else none."""
    kind = torch.device(device).type
    supported = kind != "cpu" or getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()
    return torch.autocast(kind, torch.bfloat16, enabled=supported)


def _schedule(step: int, optimization: Optimization) -> float:
    cosine = 0.5 * (1 + math.cos(math.pi * step / optimization.steps))
    warmup = min(1.0, (step + 1) / optimization.warmup)
    return warmup * (optimization.final_share + (1 - optimization.final_share) * cosine)


def _averaging(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """Update of a moving average whose decay grows with the number of steps, up to `decay`."""

    @torch.no_grad()
    def update(averaged: Tensors, current: Tensors, count: Tensor | int) -> None:
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
    temporary.replace(folder / "checkpoint.pt")


def _resume(
    folder: Path, task: TrainingTask, average: AveragedModel, optimizer: torch.optim.Optimizer
) -> tuple[int, float]:
    """Number of finished steps, and the seconds that they took."""
    file = folder / "checkpoint.pt"
    if not file.is_file():
        return 0, 0.0
    state = torch.load(file, map_location="cpu", weights_only=True)
    task.load_state_dict(state["task"])
    average.load_state_dict(state["average"])
    optimizer.load_state_dict(state["optimizer"])
    return state["step"], state["seconds"]
