"""Confidence intervals."""

import torch
from torch import Tensor


def bootstrap_interval(
    values: Tensor, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean (Efron, 1979) of independent values (K,).

    Args:
        values: one number for each image, prompt or seed.
        confidence: share of such intervals that hold the true mean, for large K.
        resamples: how often K values are drawn with replacement.
        seed: of the draws.
    """
    draws = torch.randint(len(values), (resamples, len(values)), generator=torch.Generator().manual_seed(seed))
    means = values.double()[draws].mean(1)
    tail = (1 - confidence) / 2
    low, high = means.quantile(torch.tensor([tail, 1 - tail], dtype=torch.double)).tolist()
    return low, high
