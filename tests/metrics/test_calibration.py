"""Rank histogram and coverage of samples whose distribution is known."""

import pytest
import torch
from threestudio_rsd.metrics.calibration import interval_coverage, rank_histogram


@pytest.mark.parametrize("n", [1, 4, 19])
def test_calibrated_samples_have_uniform_ranks_and_nominal_coverage(n: int) -> None:
    draws = torch.randn(n + 1, 40_000, generator=torch.Generator().manual_seed(n))
    histogram = rank_histogram(draws[1:], draws[0])
    torch.testing.assert_close(histogram, torch.full((n + 1,), 1 / (n + 1)), rtol=0, atol=0.01)
    assert abs(interval_coverage(histogram) - 0.9) < 0.01


def test_overconfident_samples_have_extreme_ranks_and_low_coverage() -> None:
    draws = torch.randn(20, 10_000, generator=torch.Generator().manual_seed(0))
    histogram = rank_histogram(0.3 * draws[1:], draws[0])
    assert histogram[0] > 0.2
    assert histogram[-1] > 0.2
    assert interval_coverage(histogram) < 0.6


def test_samples_that_vary_too_much_cover_more_than_nominal() -> None:
    draws = torch.randn(20, 10_000, generator=torch.Generator().manual_seed(0))
    assert interval_coverage(rank_histogram(3 * draws[1:], draws[0])) > 0.97


def test_equal_values_count_for_every_rank() -> None:
    histogram = rank_histogram(torch.full((4, 7), 0.5), torch.full((7,), 0.501), tolerance=0.002)
    torch.testing.assert_close(histogram, torch.full((5,), 0.2))
    assert abs(interval_coverage(histogram) - 0.9) < 1e-6
