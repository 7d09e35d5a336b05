"""Means with bootstrap confidence intervals."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

CONFIDENCE = 0.95
RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """A mean and its 95 % confidence interval [low, high]; both ends are None where there is one value only."""

    mean: float
    low: float | None = None
    high: float | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """(low, high), or None."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    def record(self) -> dict[str, Any]:
        """`{"mean": ..., "interval": [low, high] or null}`, for JSON."""
        return {"mean": self.mean, "interval": None if self.interval is None else list(self.interval)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Estimate":
        """The estimate that `record` was written from."""
        low, high = record.get("interval") or (None, None)
        return cls(float(record["mean"]), low, high)


def estimate(values: Sequence[float] | Tensor, clusters: Sequence[Hashable] | None = None) -> Estimate:
    """Mean of one or more values with a percentile bootstrap interval (Efron, 1979).

    Args:
        values: one number for each image, prompt or seed, (K,).
        clusters: label of the cluster of each value, such as its prompt. Clusters are drawn with replacement, then the
            values within each (Davison & Hinkley, 1997, section 3.8); with one cluster only its values are drawn.
            None: the values are independent.

    Example:
        >>> estimate([1.0, 2.0, 3.0]).mean
        2.0
        >>> estimate([5.0]).interval is None
        True
    """
    tensor = torch.as_tensor(values, dtype=torch.double)
    mean = float(tensor.mean())
    if len(tensor) < 2:
        return Estimate(mean)
    if clusters is None:
        return Estimate(mean, *_interval(_resampled_means(tensor)))
    groups: dict[Hashable, list[float]] = {}
    for value, cluster in zip(tensor.tolist(), clusters, strict=True):
        groups.setdefault(cluster, []).append(value)
    return Estimate(mean, *_interval(_clustered_means(list(groups.values()))))


def _resampled_means(values: Tensor) -> Tensor:
    """Means of K values drawn with replacement, (RESAMPLES,)."""
    draws = torch.randint(len(values), (RESAMPLES, len(values)), generator=torch.Generator().manual_seed(0))
    return values[draws].mean(1)


def _clustered_means(clusters: Sequence[Sequence[float]]) -> Tensor:
    """Means of values drawn within clusters that are themselves drawn, (RESAMPLES,)."""
    generator = torch.Generator().manual_seed(0)
    sizes = torch.tensor([len(cluster) for cluster in clusters])
    padded = torch.zeros(len(clusters), int(sizes.max()), dtype=torch.double)
    for row, cluster in zip(padded, clusters, strict=True):
        row[: len(cluster)] = torch.tensor(cluster, dtype=torch.double)
    chosen_clusters = torch.randint(len(clusters), (RESAMPLES, len(clusters)), generator=generator)
    places = torch.rand(RESAMPLES, *padded.shape, generator=generator, dtype=torch.double)
    chosen = (places * sizes[chosen_clusters][..., None]).long()
    drawn = padded[chosen_clusters].gather(2, chosen)
    exists = torch.arange(padded.shape[1]) < sizes[chosen_clusters][..., None]
    return (drawn * exists).sum((1, 2)) / exists.sum((1, 2))


def _interval(means: Tensor) -> tuple[float, float]:
    tail = (1 - CONFIDENCE) / 2
    low, high = means.quantile(torch.tensor([tail, 1 - tail], dtype=torch.double)).tolist()
    return low, high
