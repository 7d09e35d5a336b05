"""Bootstrap intervals against what is known in closed form."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from threestudio_rsd.metrics.statistics import bootstrap_interval, clustered_interval


def test_as_wide_as_the_normal_interval_for_many_values() -> None:
    values = torch.randn(400, generator=torch.Generator().manual_seed(0))
    low, high = bootstrap_interval(values)
    half = 1.96 * float(values.std()) / 20
    assert low == pytest.approx(float(values.mean()) - half, abs=0.02)
    assert high == pytest.approx(float(values.mean()) + half, abs=0.02)


def test_clusters_that_differ_widen_the_interval() -> None:
    """With clusters of equal values nothing but their number counts."""
    clusters = [[float(i)] * 50 for i in range(10)]
    clustered = clustered_interval(clusters)
    by_hand = bootstrap_interval(torch.arange(10.0))
    flat = bootstrap_interval(torch.tensor([value for cluster in clusters for value in cluster]))
    assert clustered == pytest.approx(by_hand, abs=0.3)
    assert clustered[1] - clustered[0] > 3 * (flat[1] - flat[0])


def test_of_one_cluster_its_values_are_drawn() -> None:
    values = [1.0, 2.0, 3.0, 4.0]
    low, high = clustered_interval([values])
    assert 1 < low < 2.5 < high < 4


@given(st.lists(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=5), min_size=1, max_size=5))
def test_within_the_values_for_clusters_of_any_size(clusters) -> None:
    low, high = clustered_interval(clusters, resamples=50)
    values = [value for cluster in clusters for value in cluster]
    assert min(values) - 1e-6 <= low <= high <= max(values) + 1e-6
