"""One optimizer in front of several, for particles that bring their own."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim import Optimizer


class JointOptimizer(Optimizer):
    """Steps several optimizers together.

    The parameter groups are theirs, not copies: a geometry that adds or removes points in its own optimizer does so
    here as well.
    """

    def __init__(self, optimizers: Iterable[Optimizer]) -> None:
        self.optimizers = list(optimizers)
        super().__init__(self._groups(), {})

    def _groups(self) -> list[dict[str, Any]]:
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Step each optimizer; returns what `closure`, if given, returned before that."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for optimizer in self.optimizers:
            optimizer.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The state of each optimizer, in order."""
        return {"optimizers": [optimizer.state_dict() for optimizer in self.optimizers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Give each optimizer its state back."""
        for optimizer, state in zip(self.optimizers, state_dict["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        self.param_groups[:] = self._groups()  # in place: what wraps an optimizer keeps this list
