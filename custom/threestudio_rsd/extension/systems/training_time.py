"""Seconds per training step, which checkpoints keep."""

import time
from typing import Any


class TrainingTime:
    """Mixin of systems that counts the seconds and the number of training steps, to be named before their base class.

    A resumed run goes on counting, and the evaluation of a checkpoint knows how long its training took.
    """

    _seconds, _steps = 0.0, 0

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Gradients and update of a step with automatic optimization, whose time is counted."""
        started = time.perf_counter()
        super().optimizer_step(*args, **kwargs)  # type: ignore[misc]
        self.count_time(time.perf_counter() - started)

    def count_time(self, seconds: float, steps: int = 1) -> None:
        """Add steps and their seconds."""
        self._seconds += seconds
        self._steps += steps

    @property
    def seconds_per_step(self) -> float | None:
        """Mean seconds of a step; None before the first."""
        return self._seconds / self._steps if self._steps else None

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        super().on_save_checkpoint(checkpoint)  # type: ignore[misc]
        checkpoint["training_time"] = {"seconds": self._seconds, "steps": self._steps}

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        super().on_load_checkpoint(checkpoint)  # type: ignore[misc]
        known: Any = checkpoint.get("training_time") or {}
        self._seconds, self._steps = float(known.get("seconds", 0.0)), int(known.get("steps", 0))
