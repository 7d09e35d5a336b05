"""Metrics of the bundled world against closed forms, enumeration and simulation."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from threestudio_rsd.errors import UserError
from threestudio_rsd.toyworld import (
    accuracy,
    entropy,
    expected_entropy,
    expected_total_variation,
    sample_scenes,
    total_variation,
    true_distribution,
    truth_metrics,
)
from threestudio_rsd.toyworld.truth import MODES, joint
from threestudio_rsd.toyworld.world import ATTRIBUTES, CLASSES, COLORS

from ..oracle_judge import OracleJudge, labeled_images

labels_of_four = st.lists(st.integers(0, 3), min_size=1, max_size=30).map(torch.tensor)


@pytest.mark.parametrize("n_values", [1, 2, 8])
def test_entropy_of_equal_shares_and_of_one_value(n_values: int) -> None:
    assert entropy(torch.arange(n_values).repeat(3), n_values) == pytest.approx(math.log2(n_values))
    assert entropy(torch.full((5,), n_values - 1), n_values) == 0


@given(labels=labels_of_four)
def test_entropy_equals_that_of_the_histogram(labels: torch.Tensor) -> None:
    shares = [labels.tolist().count(value) / len(labels) for value in range(4)]
    by_hand = -sum(share * math.log2(share) for share in shares if share)
    assert entropy(labels, 4) == pytest.approx(by_hand)
    assert -1e-12 <= entropy(labels, 4) <= 2 + 1e-12
    assert entropy((labels + 1) % 4, 4) == pytest.approx(by_hand)  # names of the values do not matter


@pytest.mark.parametrize("labels", [[], [4], [-1]])
def test_invalid_labels_raise_user_error(labels: list[int]) -> None:
    with pytest.raises(UserError, match="0 to 3"):
        entropy(torch.tensor(labels, dtype=torch.long), 4)


def test_accuracy_is_the_share_of_correct_labels() -> None:
    predicted = torch.tensor([0, 1, 1, 2])
    assert accuracy(predicted, torch.tensor([0, 1, 2, 2])) == 0.75
    assert accuracy(predicted, 1) == 0.5


@given(first=labels_of_four, shift=st.integers(0, 3), seed=st.integers(0, 99))
def test_joint_total_variation_equals_the_sum_over_all_cells(first: torch.Tensor, shift: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    labels = {"a": first, "b": (first * first + shift) % 3}
    true = {name: torch.rand(n, generator=generator).double() for name, n in (("a", 4), ("b", 3))}
    true = {name: p / p.sum() for name, p in true.items()}
    pairs = list(zip(labels["a"].tolist(), labels["b"].tolist(), strict=True))
    by_hand = sum(
        abs(pairs.count((i, j)) / len(pairs) - float(true["a"][i] * true["b"][j]))
        for i, j in itertools.product(range(4), range(3))
    )
    measured = total_variation(labels, true)
    assert measured["joint"] == pytest.approx(by_hand / 2)
    assert max(measured["a"], measured["b"]) <= measured["joint"] + 1e-9 <= 1 + 2e-9


def test_total_variation_of_the_truth_itself_and_of_a_single_mode() -> None:
    true = {name: p for name, p in true_distribution().items() if name in MODES}
    sizes = [ATTRIBUTES[name] for name in MODES]
    grid = torch.meshgrid(*(torch.arange(n) for n in sizes), indexing="ij")
    everything = {name: axis.flatten() for name, axis in zip(MODES, grid, strict=True)}
    assert all(value == pytest.approx(0) for value in total_variation(everything, true).values())
    one = total_variation({name: torch.zeros(6, dtype=torch.long) for name in MODES}, true)
    assert one["joint"] == pytest.approx(1 - 1 / math.prod(sizes))
    assert one["color"] == pytest.approx(7 / 8)


def test_true_distribution_matches_sampled_scenes() -> None:
    n = 200_000
    labels = sample_scenes(n, torch.Generator().manual_seed(3)).labels()
    for name, p in true_distribution().items():
        assert p.sum() == pytest.approx(1)
        shares = torch.bincount(labels[name], minlength=len(p)) / n
        assert (shares - p).abs().max() < 5 * (0.25 / n) ** 0.5, name


def test_attributes_named_by_the_prompt_have_probability_1() -> None:
    true = true_distribution("cup", COLORS.index("green"))
    assert true["class"][CLASSES.index("cup")] == 1
    assert true["color"][COLORS.index("green")] == 1
    assert true["class"].sum() == 1
    assert true["background"].tolist() == pytest.approx([1 / 3] * 3)
    for wrong in ("boat", 8):
        with pytest.raises(UserError, match="class"):
            true_distribution(wrong)


def test_expected_entropy_and_total_variation_match_simulations() -> None:
    fair = torch.tensor([0.5, 0.5])
    # Two throws of a coin: half the time one of each.
    assert expected_entropy(fair, 2) == pytest.approx(0.5)
    assert expected_total_variation(fair, 2) == pytest.approx(0.25)
    p = torch.tensor([0.6, 0.3, 0.1], dtype=torch.double)
    draws = torch.multinomial(p, 20 * 4000, replacement=True, generator=torch.Generator().manual_seed(0)).view(-1, 20)
    measured = torch.tensor([entropy(row, 3) for row in draws]).mean()
    assert expected_entropy(p, 20) == pytest.approx(float(measured), abs=0.01)
    distances = torch.tensor([total_variation({"a": row}, {"a": p})["a"] for row in draws]).mean()
    assert expected_total_variation(p, 20) == pytest.approx(float(distances), abs=0.01)


def test_joint_lists_every_combination() -> None:
    modes = joint(true_distribution("car"))
    assert len(modes) == 8 * 8 * 3
    assert modes.sum() == pytest.approx(1)
    assert int((modes > 0).sum()) == 8 * 3


def test_truth_metrics_of_known_images() -> None:
    cup = CLASSES.index("cup")
    images = labeled_images({"class": torch.tensor([cup, cup, cup, 0]), "color": torch.tensor([0, 1, 2, 2])})
    measured = truth_metrics(images, OracleJudge(), "cup", reference_images=images)
    assert measured["colors"] == 3
    assert measured["modes"] == 4
    assert measured["color_entropy"] == pytest.approx(1.5)
    assert measured["class_accuracy"] == 0.75
    assert "color_accuracy" not in measured
    assert measured["total_variation_class"] == 0.25
    assert measured["total_variation_color"] == 0.625
    assert measured["frechet_distance"] == pytest.approx(0, abs=1e-4)
    assert truth_metrics(images, OracleJudge(), color=2)["color_accuracy"] == 0.5
    assert truth_metrics(images[:1], OracleJudge(), cup, reference_images=images)["class_accuracy"] == 1


def test_truth_metrics_accept_the_bundled_judge() -> None:
    from threestudio_rsd.files import data_path
    from threestudio_rsd.toyworld import ToyworldJudge

    measured = truth_metrics(torch.rand(4, 3, 64, 64), ToyworldJudge.from_folder(data_path("load/toyworld/judge")))
    assert all(math.isfinite(value) for value in measured.values())
