"""Confidence intervals."""

from collections.abc import Sequence

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


def clustered_interval(
    values: Sequence[Sequence[float]], confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of values that lie in clusters: prompts, and in them seeds.

    Clusters are drawn with replacement, then the values of each that was drawn (Davison & Hinkley, 1997, 3.8); of one
    cluster only its values are.

    Args:
        values: of each cluster, one or more.
        confidence: share of such intervals that hold the true mean, for many clusters.
        resamples: how often they are drawn.
        seed: of the draws.
    """
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.tensor([len(cluster) for cluster in values])
    padded = torch.zeros(len(values), int(sizes.max()), dtype=torch.double)
    for row, cluster in zip(padded, values, strict=True):
        row[: len(cluster)] = torch.tensor(cluster, dtype=torch.double)
    clusters = torch.randint(len(values), (resamples, len(values)), generator=generator)
    places = torch.rand(resamples, *padded.shape, generator=generator, dtype=torch.double)
    chosen = (places * sizes[clusters][..., None]).long()
    drawn = padded[clusters].gather(2, chosen)
    is_there = torch.arange(padded.shape[1]) < sizes[clusters][..., None]
    means = (drawn * is_there).sum((1, 2)) / is_there.sum((1, 2))
    tail = (1 - confidence) / 2
    low, high = means.quantile(torch.tensor([tail, 1 - tail], dtype=torch.double)).tolist()
    return low, high
