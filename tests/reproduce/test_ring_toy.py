"""The ring of eight modes: fixed noise samples the mixture, and coupled and repelled noise finds more modes."""

import json

import pytest
import torch
from threestudio_rsd.reproduce import ring_toy
from threestudio_rsd.reproduce.ring_toy import MODES, SETTINGS, RingRow, measure, ring_prior, ring_rows, simulate

REALIZATIONS = 120
BY_CHANCE = MODES * (1 - (1 - 1 / MODES) ** MODES)  # expected modes of independent samples: 5.25


@pytest.fixture(scope="module")
def rows() -> dict[str, RingRow]:
    found = ring_rows(REALIZATIONS, seed=1)
    return dict(zip(("exact", "fresh", "fixed", "coupled", "force", "selected"), found, strict=True))


def test_independent_samples_find_the_expected_number_of_modes(rows) -> None:
    assert abs(rows["exact"].found.mean - BY_CHANCE) < 0.25
    assert abs(rows["exact"].spread.mean - 1) < 0.05


def test_fixed_noise_finds_as_many_modes_with_their_spread(rows) -> None:
    assert abs(rows["fixed"].found.mean - BY_CHANCE) < 0.25
    assert abs(rows["fixed"].spread.mean - 1) < 0.1


def test_coupling_finds_more_modes_and_the_force_still_more_with_the_spread_of_the_mixture(rows) -> None:
    assert rows["coupled"].found.mean > BY_CHANCE
    assert rows["force"].found.mean > rows["coupled"].found.mean + 0.1  # both start from the same noises
    assert abs(rows["force"].spread.mean - 1) < 0.1


def test_selected_noises_find_the_most(rows) -> None:
    assert rows["selected"].found.interval[0] > rows["force"].found.interval[1]
    assert abs(rows["selected"].spread.mean - 1) < 0.1


def test_fresh_noise_has_not_the_spread_of_the_mixture(rows) -> None:
    assert abs(rows["fresh"].spread.mean - 1) > 0.3


def test_measure_counts_modes_and_compares_spreads() -> None:
    modes = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    deviation = ring_toy.VARIANCE**0.5
    particles = torch.stack([modes, modes[[0, 0]]]) + deviation
    row = measure("two", particles, modes)
    assert row.found.mean == 1.5
    assert row.spread.mean == pytest.approx(1.0, rel=1e-4)


def test_the_seed_decides_the_particles() -> None:
    prior = ring_prior()
    first, again, other = (simulate(prior, SETTINGS[-2], 3, seed) for seed in (0, 0, 1))
    assert first.shape == (3, MODES, 2)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_run_prints_the_table_and_writes_it(tmp_path, capsys) -> None:
    path = ring_toy.run(5, 0, tmp_path, "rsd toy")
    assert "modes of 8" in capsys.readouterr().out
    written = json.loads(path.read_text())
    assert [row["label"] for row in written["rows"]] == [setting.label for setting in SETTINGS]
