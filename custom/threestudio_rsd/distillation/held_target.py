"""Target of score distillation that is held for several optimizer steps (Lukoianov et al., 2024, arXiv 2405.15891)."""

from typing import Any

from torch import Tensor, nn


class HeldTarget(nn.Module):
    """Gradient x - D for adaptive optimizers such as Adam, with the target D held for M steps.

    D = x - lambda (eps - e + gamma s R) is the point to which one exact step down to noise level 0 leads.

    Args:
        inner_steps: M, number of optimizer steps for each target.
    """

    def __init__(self, inner_steps: int) -> None:
        super().__init__()
        self.inner_steps = inner_steps
        self.target: Tensor | None = None

    def is_due(self, step: int) -> bool:
        """Whether this step needs a new target."""
        return self.target is None or step % self.inner_steps == 0

    def update(self, particles: Tensor, gradient: Tensor) -> None:
        """Take particles - gradient as the new target; gradient = x - D, (N, ...)."""
        self.target = particles.detach() - gradient

    def gradient(self, particles: Tensor) -> Tensor:
        """Gradient x - D, (N, ...)."""
        assert self.target is not None
        return particles.detach() - self.target.to(particles.device)

    def get_extra_state(self) -> dict[str, Any]:
        """Target, for checkpoints: a resumed run continues with it."""
        return {"target": self.target}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore the target."""
        self.target = state["target"]
