"""Bootstrap intervals against closed forms."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from threestudio_rsd.metrics.statistics import Estimate, estimate


def test_interval_of_many_values_matches_the_normal_interval() -> None:
    values = torch.randn(400, generator=torch.Generator().manual_seed(0))
    found = estimate(values)
    half = 1.96 * float(values.std()) / 20
    assert found.mean == pytest.approx(float(values.mean()))
    assert found.low == pytest.approx(float(values.mean()) - half, abs=0.02)
    assert found.high == pytest.approx(float(values.mean()) + half, abs=0.02)


def test_differing_clusters_widen_the_interval() -> None:
    """If values within clusters are equal, the interval depends only on the number of clusters."""
    values = [float(i) for i in range(10) for _ in range(50)]
    clustered = estimate(values, clusters=[int(value) for value in values])
    by_hand, flat = estimate(torch.arange(10.0)), estimate(values)
    assert clustered.interval == pytest.approx(by_hand.interval, abs=0.3)
    assert clustered.high - clustered.low > 3 * (flat.high - flat.low)


def test_values_are_resampled_if_there_is_one_cluster() -> None:
    found = estimate([1.0, 2.0, 3.0, 4.0], clusters=["only"] * 4)
    assert 1 < found.low < 2.5 < found.high < 4


@given(st.lists(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=5), min_size=1, max_size=5))
def test_interval_lies_within_the_values_for_clusters_of_any_size(clusters) -> None:
    values = [value for cluster in clusters for value in cluster]
    found = estimate(values, clusters=[index for index, cluster in enumerate(clusters) for _ in cluster])
    if len(values) > 1:
        assert min(values) - 1e-6 <= found.low <= found.high <= max(values) + 1e-6
    else:
        assert found == Estimate(values[0])


def test_estimate_survives_a_round_trip_through_its_record() -> None:
    for found in (estimate([1.0, 2.0, 4.0]), estimate([3.0])):
        assert Estimate.from_record(found.record()) == found
