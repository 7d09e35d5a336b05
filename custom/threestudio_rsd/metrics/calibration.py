"""Calibration of samples of a posterior: the rank of the truth among them, and coverage of their central interval.

If truth and samples come from one distribution, the rank of the truth among N samples is uniform on 0 ... N (Talts et
al., 2018). A histogram that is high at both ends shows samples that differ too little.
"""

import torch
from torch import Tensor


def rank_histogram(samples: Tensor, truth: Tensor, tolerance: float = 0.0) -> Tensor:
    """Shares of the ranks of the truth among the samples, over all entries.

    Args:
        samples: (N, ...).
        truth: (...).
        tolerance: samples that differ from the truth by at most this much are ties; a truth with T ties counts as
            1 / (T + 1) for each rank that breaking the ties at random may give.

    Returns:
        Shares of the ranks 0 ... N, (N + 1,); their sum is 1.

    Example:
        >>> rank_histogram(torch.tensor([[0.1], [0.3]]), torch.tensor([0.2]))
        tensor([0., 1., 0.])
    """
    flat, true = samples.flatten(1), truth.flatten()
    below = (flat < true - tolerance).sum(0)
    ties = ((flat - true).abs() <= tolerance).sum(0)
    ranks = torch.arange(len(samples) + 1)[:, None]
    possible = (ranks >= below) & (ranks <= below + ties)
    return (possible / (ties + 1)).mean(1)


def interval_coverage(histogram: Tensor, level: float = 0.9) -> float:
    """Share of the truths in the central interval of the samples; its expectation is `level` if they are calibrated.

    The rank is spread evenly over its part of [0, 1], of which the central part counts, so that the expectation holds
    for every N. With few samples the share is far above 0 even if the truth lies outside all of them: (N + 1) (1 -
    level) / 2 of each outer rank does not count.

    Args:
        histogram: shares of the ranks, (N + 1,).
        level: mass of the interval.

    Example:
        >>> round(interval_coverage(torch.full((20,), 0.05)), 6)
        0.9
    """
    edges = torch.linspace(0, 1, len(histogram) + 1, dtype=torch.double).clamp((1 - level) / 2, (1 + level) / 2)
    return float((histogram.double() * edges.diff()).sum() * len(histogram))
