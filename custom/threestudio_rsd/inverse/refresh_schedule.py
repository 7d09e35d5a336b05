"""`RefreshSchedule`: share of the noise that is drawn anew, as a function of the noise level."""

import math
from itertools import pairwise
from typing import Any

from ..errors import UserError, in_range


class RefreshSchedule:
    """Refresh rate g of a noise level lambda = sigma / alpha.

    Args:
        knots: g, or pairs [lambda, g] with ascending lambda; between them g is linear in log lambda, beyond them
            constant.

    Raises:
        UserError: g outside [0, 1], or levels that are not positive and ascending.

    Example:
        >>> schedule = RefreshSchedule([[0.1, 0.0], [10.0, 1.0]])
        >>> schedule(0.01), schedule(1.0), schedule(100.0)
        (0.0, 0.5, 1.0)
    """

    def __init__(self, knots: Any) -> None:
        pairs = [[1.0, knots]] if isinstance(knots, int | float) else [list(pair) for pair in knots]
        levels = [pair[0] for pair in pairs]
        if not pairs or any(len(pair) != 2 for pair in pairs) or levels != sorted(set(levels)) or levels[0] <= 0:
            raise UserError(
                f"noise_refresh_rate={knots} is impossible; accepted: a number from 0 to 1, or pairs "
                "[noise level, rate] with ascending levels above 0."
            )
        for _, rate in pairs:
            in_range("noise_refresh_rate", rate, 0.0, 1.0)
        self.knots = [(float(level), float(rate)) for level, rate in pairs]

    def __call__(self, level: float) -> float:
        """Rate of a noise level."""
        if level <= self.knots[0][0]:
            return self.knots[0][1]
        for (low, first), (high, second) in pairwise(self.knots):
            if level <= high:
                share = math.log(level / low) / math.log(high / low)
                return first + share * (second - first)
        return self.knots[-1][1]
