"""Interval of noise levels in which classifier-free guidance acts (Kynkaanniemi et al., 2024, arXiv 2404.07724)."""

import math
from dataclasses import dataclass

from ..errors import UserError
from ..priors import Prior


@dataclass(frozen=True)
class NoiseLevelInterval:
    """Noise levels lambda = sigma / alpha in (low, high].

    Attributes:
        low: excluded lower bound, at least 0.
        high: included upper bound; infinity: no bound.

    Raises:
        UserError: bounds that are not 0 <= low <= high.

    Example:
        >>> NoiseLevelInterval(0.28, 2.9).contains(1.0)
        True
        >>> NoiseLevelInterval(0.28, 2.9).contains(0.28)
        False
    """

    low: float = 0.0
    high: float = math.inf

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high:
            raise UserError(
                f"interval [{self.low}, {self.high}] is impossible; accepted: two noise levels sigma / alpha, "
                "0 <= low <= high."
            )

    def contains(self, level: float) -> bool:
        """Test whether a noise level lies in the interval."""
        return self.low < level <= self.high


def noise_level(prior: Prior, t: int) -> float:
    """lambda_t = sigma_t / alpha_t of a timestep; infinity where alpha_t = 0."""
    alpha, sigma = float(prior.alpha(t)), float(prior.sigma(t))
    return math.inf if alpha == 0 else sigma / alpha
