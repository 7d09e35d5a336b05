"""Timestep schedules: the timestep of each step of a run."""

import numpy as np

from ..errors import UserError, one_of

KINDS = ("random", "descending", "shrinking")


class TimestepSchedule:
    """Timestep as a function of the step alone, so that a resumed run repeats the timesteps of an uninterrupted one.

    Args:
        kind: `random`, uniform in [min_t, max_t] (the paper's); `descending`, evenly from max_t to min_t over
            total_steps; `shrinking`, uniform in [min_t, u] with u falling from max_t to min_t over total_steps.
        total_steps: steps of the run; needed by the last two.
        seed: seed of the random draws.

    Raises:
        UserError: unknown kind, or no total_steps where one is needed.

    Example:
        >>> schedule = TimestepSchedule("descending", total_steps=5)
        >>> [schedule(step, min_t=20, max_t=980) for step in range(5)]
        [980, 740, 500, 260, 20]
    """

    def __init__(self, kind: str = "random", total_steps: int | None = None, seed: int = 0) -> None:
        one_of("timestep_schedule", kind, KINDS)
        if kind != "random" and (total_steps is None or total_steps < 1):
            raise UserError(
                f"total_steps={total_steps} is impossible with timestep_schedule={kind!r}; "
                "accepted: the number of steps of the run, at least 1."
            )
        self.kind = kind
        self.total_steps = total_steps or 1
        self.seed = seed

    def __call__(self, step: int, min_t: int, max_t: int) -> int:
        """Timestep of a step.

        Args:
            step: index of the step, from 0.
            min_t: smallest timestep.
            max_t: largest timestep, included.

        Raises:
            UserError: min_t > max_t.
        """
        if min_t > max_t:
            raise UserError(f"min_step_percent lies above max_step_percent (timesteps {min_t} > {max_t}); swap them.")
        if self.kind == "random":
            return self._uniform(step, min_t, max_t)
        progress = min(step / max(self.total_steps - 1, 1), 1.0)
        upper = round(max_t + progress * (min_t - max_t))
        return upper if self.kind == "descending" else self._uniform(step, min_t, upper)

    def _uniform(self, step: int, low: int, high: int) -> int:
        return int(np.random.default_rng([self.seed, step]).integers(low, high + 1))
