"""Repulsive force that is computed every few steps and used again in between."""

from typing import Any

import torch
from torch import Tensor, nn

from ..errors import in_range


class HeldForce(nn.Module):
    """Force R of the particles, held for some steps: it changes more slowly than the noise of score distillation.

    Args:
        refresh: number of steps for which a force is used; 1: it is computed in each step.

    Raises:
        UserError: refresh < 1.

    Example:
        >>> import torch
        >>> held = HeldForce(refresh=4)
        >>> held.at(0, "cpu") is None  # due
        True
        >>> held.update(0, torch.ones(2))
        >>> held.at(3, "cpu"), held.at(4, "cpu") is None
        (tensor([1., 1.]), True)
    """

    def __init__(self, refresh: int) -> None:
        super().__init__()
        in_range("repulsion_refresh", refresh, 1)
        self.refresh = refresh
        self.computed: int | None = None  # step in which the force was computed
        self.force: Tensor | None = None

    def at(self, step: int, device: torch.device | str) -> Tensor | None:
        """Force to use in a step, on the device of the particles; None: a new one is due."""
        if self.force is None or not self._is_held(step):
            return None
        self.force = self.force.to(device)  # after a checkpoint is loaded it is on the CPU, and no Module.to moves it
        return self.force

    def update(self, step: int, force: Tensor | None) -> None:
        """Hold the force that a step used, unless it is the one already held, or None."""
        if force is not None and self.refresh > 1 and not self._is_held(step):
            self.computed, self.force = step, force

    def get_extra_state(self) -> dict[str, Any]:
        """Held force and its step, for checkpoints: a resumed run continues with it."""
        return {"step": self.computed, "force": self.force}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore the held force."""
        self.computed, self.force = state["step"], state["force"]

    def _is_held(self, step: int) -> bool:
        return self.computed is not None and self.computed <= step < self.computed + self.refresh
