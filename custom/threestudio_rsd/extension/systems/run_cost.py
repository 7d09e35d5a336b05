"""Cost of a run: evaluations of the prior's network, seconds and steps of training."""

import time
from typing import Any

KEY = "run_cost"  # in checkpoints


class RunCost:
    """Counts the network evaluations and the seconds of training, through resumed runs.

    A network evaluation is one forward pass of the prior's noise network on one latent: the conditional and the
    unconditional prediction of a latent are two. Passes with VSD's adapters count too; a separate small network, the
    autoencoder and feature networks do not.
    """

    def __init__(self) -> None:
        self.steps = 0
        self.seconds = 0.0
        self._prior: Any = None
        self._before: int | None = None  # evaluations before the prior was watched; None: unknown
        self._offset = 0
        self._started = 0.0

    def watch(self, prior: Any) -> None:
        """Count the evaluations of a prior from now on; other objects, such as a foreign guidance, are ignored."""
        if hasattr(prior, "network_calls"):
            self._prior, self._offset = prior, prior.network_calls

    @property
    def network_calls(self) -> int | None:
        """Network evaluations so far; None where no prior was watched."""
        if self._prior is None:
            return self._before
        return (self._before or 0) + self._prior.network_calls - self._offset

    def start_step(self) -> None:
        """Start the clock of a training step."""
        self._started = time.perf_counter()

    def end_step(self) -> None:
        """Stop the clock of a training step."""
        self.seconds += time.perf_counter() - self._started
        self.steps += 1

    def facts(self, n_particles: int) -> dict[str, float | None]:
        """Entries of metrics.json; None where nothing was measured.

        Args:
            n_particles: number of particles N over which the totals are divided.
        """
        calls = self.network_calls
        return {
            "seconds_per_step": self.seconds / self.steps if self.steps else None,
            "seconds_per_particle": self.seconds / n_particles if self.steps else None,
            "network_calls_per_particle": None if calls is None else calls / n_particles,
        }

    def save(self, checkpoint: dict[str, Any]) -> None:
        """Add the cost to a checkpoint."""
        checkpoint[KEY] = {"steps": self.steps, "seconds": self.seconds, "network_calls": self.network_calls}

    def load(self, checkpoint: dict[str, Any]) -> None:
        """Continue from a checkpoint; one without cost changes nothing."""
        if KEY in checkpoint:
            saved = checkpoint[KEY]
            self.steps, self.seconds, self._before = saved["steps"], saved["seconds"], saved["network_calls"]
