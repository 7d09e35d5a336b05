"""Cost of a run, which checkpoints keep: evaluations of the prior's network, seconds and steps of training."""

import time
from typing import Any

import torch

from ...particles.ranks import sum_over_ranks

KEY = "run_cost"  # in checkpoints


class RunCost:
    """Mixin of systems that counts network evaluations, seconds and training steps; stands before their base class.

    A network evaluation is one forward pass of the prior's noise network on one latent: the conditional and the
    unconditional prediction of a latent are two. Passes with VSD's adapters count too; a separate small network, the
    autoencoder and feature networks do not.

    A resumed run goes on counting, and the evaluation of a checkpoint knows what its training cost.
    """

    _seconds, _steps = 0.0, 0
    _calls_before: int | None = None  # evaluations before the prior was watched; None: unknown
    _calls_offset = 0

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Gradients and update of a step with automatic optimization, whose time is counted."""
        started = time.perf_counter()
        super().optimizer_step(*args, **kwargs)  # type: ignore[misc]
        self.count_time(time.perf_counter() - started)

    def count_time(self, seconds: float, steps: int = 1) -> None:
        """Add steps and their seconds."""
        self._seconds += seconds
        self._steps += steps

    def watch(self, prior: Any) -> None:
        """Count the evaluations of a prior from now on; other objects, such as a foreign guidance, are ignored."""
        if hasattr(prior, "network_calls"):
            object.__setattr__(self, "_watched", prior)  # not a submodule: checkpoints do not hold its weights
            self._calls_offset = prior.network_calls

    @property
    def network_calls(self) -> int | None:
        """Network evaluations of all ranks so far, which all of them ask for; None where no prior was watched."""
        prior = self.__dict__.get("_watched")
        if prior is None:
            return self._calls_before
        calls = torch.tensor(prior.network_calls - self._calls_offset)
        sum_over_ranks([calls])
        return (self._calls_before or 0) + int(calls)

    def cost_facts(self, n_particles: int) -> dict[str, float | None]:
        """Entries of metrics.json; None where nothing was measured.

        Args:
            n_particles: number of particles N over which the totals are divided.
        """
        calls = self.network_calls
        return {
            "seconds_per_step": self._seconds / self._steps if self._steps else None,
            "seconds_per_particle": self._seconds / n_particles if self._steps else None,
            "network_calls_per_particle": None if calls is None else calls / n_particles,
        }

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        super().on_save_checkpoint(checkpoint)  # type: ignore[misc]
        checkpoint[KEY] = {"steps": self._steps, "seconds": self._seconds, "network_calls": self.network_calls}

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        super().on_load_checkpoint(checkpoint)  # type: ignore[misc]
        known: Any = checkpoint.get(KEY) or {}
        self._steps, self._seconds = int(known.get("steps", 0)), float(known.get("seconds", 0.0))
        self._calls_before = known.get("network_calls")
