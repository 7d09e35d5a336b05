"""Similarity, diversity and Vendi score against plain loops and ensembles with known values."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from threestudio_rsd.errors import UserError
from threestudio_rsd.metrics import diversity, pairwise_similarity, vendi_score
from threestudio_rsd.toyworld import ToyworldJudge, modes_covered


@given(n=st.integers(2, 7), seed=st.integers(0, 99))
def test_similarity_equals_equation_37(n: int, seed: int) -> None:
    features = torch.randn(n, 5, generator=torch.Generator().manual_seed(seed))
    pairs = [torch.cosine_similarity(features[i], features[j], dim=0) for i in range(n) for j in range(n) if i != j]
    torch.testing.assert_close(pairwise_similarity(features), torch.stack(pairs).mean(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(diversity(features), 1 - pairwise_similarity(features))


@given(n=st.integers(1, 6), copies=st.integers(1, 3))
def test_vendi_counts_orthogonal_groups(n: int, copies: int) -> None:
    features = torch.eye(6)[:n].repeat(copies, 1) * 3
    torch.testing.assert_close(vendi_score(features), torch.tensor(float(n)), rtol=1e-4, atol=1e-4)


def test_one_particle_has_no_diversity() -> None:
    assert diversity(torch.randn(1, 4)) == 0
    assert vendi_score(torch.randn(1, 4)).item() == pytest.approx(1)


def test_zero_and_half_precision_features_stay_finite() -> None:
    assert diversity(torch.zeros(3, 4)).isfinite()
    assert vendi_score(torch.randn(3, 4).half()).isfinite()


@pytest.mark.parametrize("length", [0.0, 1e-30, 1e-9, 1.0])
def test_equal_features_of_any_length_have_no_diversity(length: float) -> None:
    """Black images have features of length 0 in the pixels."""
    features = torch.full((4, 8), length)
    assert diversity(features).item() == pytest.approx(0, abs=1e-6)
    assert vendi_score(features).item() == pytest.approx(1, abs=1e-4)


def test_a_zero_feature_among_others_is_unlike_them() -> None:
    features = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    assert pairwise_similarity(features).item() == pytest.approx(1 / 3)


def test_invalid_features_raise_user_error() -> None:
    for features in (torch.zeros(0, 4), torch.zeros(4)):
        with pytest.raises(UserError, match="ensemble"):
            diversity(features)


def test_modes_covered_counts_combinations() -> None:
    color, background = torch.tensor([0, 0, 1, 1]), torch.tensor([2, 2, 2, 0])
    assert modes_covered(color) == 2
    assert modes_covered(color, background) == 3


def test_judge_without_weights_raises_user_error(tmp_path) -> None:
    with pytest.raises(UserError, match=r"model.safetensors"):
        ToyworldJudge.from_folder(tmp_path)


def test_other_weights_are_rejected_as_judge(tmp_path) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="does not hold a judge's weights"):
        ToyworldJudge.from_folder(tmp_path)
