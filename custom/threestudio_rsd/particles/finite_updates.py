"""`FiniteUpdates`: training that stops, or skips a particle's update, where numbers are not finite."""

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import NonFiniteError, one_of
from ..finite import PARTICLE, StepCheck, are_finite, note

STOP, SKIP = "stop", "skip"
MOST_SKIPPED = 10  # updates skipped one after the other, after which the run stops (ours)
ROWS = "particles"  # parameter (N, ...) whose rows are particles
PART_OF_PARTICLE = re.compile(r"(?:^|\.)particles\.(\d+)\.")  # in the name of a parameter

logger = logging.getLogger("threestudio_rsd")


class FiniteUpdates:
    """Mixin for LightningModules with automatic optimization, to be named before their base class.

    A step checks what `note` was given, the loss and the updated parameters, in which gradients that are not finite
    show. It reads the device once, after the update and before any callback can save a checkpoint. With
    `cfg.nonfinite = "skip"` it also reads it before the update; a particle of which something is not finite then keeps
    its values and optimizer state.
    """

    cfg: Any
    trainer: Any
    true_global_step: int
    _check: StepCheck | None = None
    _undo: Callable[[], object] | None = None
    _names: Mapping[int, str] = MappingProxyType({})  # names of the parameters by their id
    _skipped = 0  # updates skipped one after the other

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Compute the gradients and update the parameters.

        Raises:
            NonFiniteError: a part of the step is not finite.
        """
        one_of("system.nonfinite", self.cfg.nonfinite, (STOP, SKIP))
        shard = getattr(self, "shard", None)
        step, first = int(self.true_global_step), 0 if shard is None else shard.first
        optimizer = next(each for each in (*args, *kwargs.values()) if hasattr(each, "param_groups"))
        self._check, gradients, parameters = (StepCheck(step, first) for _ in range(3))
        with self._check.active():
            super().optimizer_step(*args, **kwargs)  # type: ignore[misc]
        if self._undo is not None:
            self._undo()
            self._undo = None
        self._note(parameters, optimizer, gradients=False)
        if not are_finite([self._check, parameters]):
            self._note(gradients, optimizer, gradients=True)  # only for the error: they have changed the parameters
            for each in (self._check, gradients, parameters):
                each.stop()

    def on_before_backward(self, loss: Tensor) -> None:
        super().on_before_backward(loss)  # type: ignore[misc]
        note("the loss", loss, lower="the weights system.loss", axes=())

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        super().on_before_optimizer_step(optimizer)  # type: ignore[misc]
        if self._check is None:
            return
        if self._may_hide_gradients():
            self._note(self._check, optimizer, gradients=True)
        if self.cfg.nonfinite == SKIP:
            self._skip_failed(optimizer, self._check)

    def _may_hide_gradients(self) -> bool:
        """Whether gradients that are not finite might not show in the parameters, since they are clipped or dropped.

        A gradient scaler drops them while it looks for a scale at which they are finite, and is left to do so.
        """
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        if scaler is not None:
            return bool(scaler.get_scale() < 1)
        return self.cfg.nonfinite == SKIP or bool(self.trainer.gradient_clip_val)

    def _skip_failed(self, optimizer: Any, check: StepCheck) -> None:
        sentence = check.failure()
        if sentence is None:
            self._skipped = 0
            return
        self._skipped += 1
        if self._skipped > MOST_SKIPPED:
            raise NonFiniteError(f"{sentence[:-1]}; {MOST_SKIPPED} steps before this one were skipped, too.")
        noted = check.failed_particles(PARTICLE)
        shard = getattr(self, "shard", None)
        failed = set() if noted is None else set(noted.nonzero().flatten().tolist())
        first = 0 if shard is None else shard.first
        undo = [each for each in self._dropped_gradients(optimizer, failed, first) if each is not None]
        if not undo:  # what failed belongs to no particle
            raise NonFiniteError(sentence)
        self._undo = lambda: [each() for each in undo]
        check.forget()
        logger.warning("%s Its update is skipped.", sentence)

    def _dropped_gradients(self, optimizer: Any, failed: set[int], first: int) -> Iterator[Callable[[], None] | None]:
        """Remove the gradients of particles that failed; yields what remains to be done after the update.

        Args:
            optimizer: optimizer of the particles.
            failed: particles that failed, as rows of this process.
            first: index of the particle of the first row.
        """
        for name, parameter, _ in self._trained(optimizer):
            if parameter.grad is None:
                continue
            finite = torch.isfinite(parameter.grad)
            if name == ROWS:
                rows = failed | set((~finite.flatten(1).all(1)).nonzero().flatten().tolist())
                yield keep_rows(parameter, optimizer, sorted(rows)) if rows else None
                continue
            found = PART_OF_PARTICLE.search(name)
            if (found and int(found.group(1)) - first in failed) or not bool(finite.all()):
                parameter.grad = None
                yield _nothing

    def _note(self, check: StepCheck, optimizer: Any, gradients: bool) -> None:
        """Add the trained parameters or their gradients to a check."""
        what = "the gradient of " if gradients else ""
        with check.active():
            for name, parameter, group in self._trained(optimizer):
                tensor = parameter.grad if gradients else parameter.detach()
                if tensor is not None and not tensor.is_sparse:
                    lower = f"system.optimizer.{f'params.{group}' if group else 'args'}.lr"
                    is_particles = name == ROWS
                    part = what + ("the values" if is_particles else name)
                    note(part, tensor, lower=lower, axes=PARTICLE if is_particles else ())

    def _trained(self, optimizer: Any) -> Iterator[tuple[str, nn.Parameter, str]]:
        """Name, parameter and name of the optimizer's group, of all parameters of the optimizer."""
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if id(parameter) not in self._names:  # parameters of Gaussians change
                    named = self.named_parameters()  # type: ignore[attr-defined]
                    self._names = {id(parameter): "a parameter"} | {id(each): name for name, each in named}
                yield self._names[id(parameter)], parameter, str(group.get("name") or "")


def _nothing() -> None:
    """Nothing remains to be done."""


def keep_rows(parameter: nn.Parameter, optimizer: Any, rows: list[int]) -> Callable[[], None]:
    """Remove rows from a parameter's gradient; returns a function that undoes their update after a step.

    Args:
        parameter: (N, ...), with a gradient.
        optimizer: its optimizer.
        rows: indices of the rows.
    """
    assert parameter.grad is not None
    parameter.grad[rows] = 0
    state = optimizer.state.get(parameter, {})
    tensors = [parameter.detach(), *(each for each in state.values() if getattr(each, "shape", ()) == parameter.shape)]
    before = [each[rows].clone() for each in tensors]

    def restore() -> None:
        for tensor, values in zip(tensors, before, strict=True):
            tensor[rows] = values

    return restore


def restore_particles(before: Any, after: Any, failed: Tensor) -> None:
    """Copy the values of some particles from an earlier state to the present one, in place.

    Args:
        before: nested dicts and lists with tensors (M, N, ...).
        after: the same structure, whose tensors are changed. Other values are not.
        failed: which particles, bool (M, N).
    """
    if isinstance(after, Tensor):
        if after.shape[:2] == failed.shape:
            where = failed.to(after.device)
            after.detach()[where] = before[where]
    elif isinstance(after, dict):
        for key, value in after.items():
            restore_particles(before[key], value, failed)
    elif isinstance(after, list | tuple):
        for old, new in zip(before, after, strict=True):
            restore_particles(old, new, failed)
