"""FID, KID, recall and coverage on Gaussians with known values."""

import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from threestudio_rsd.errors import UserError
from threestudio_rsd.metrics.distribution import (
    coverage,
    frechet_distance,
    kernel_inception_distance,
    load_inception,
    recall,
)
from torch import Tensor


def gaussian_features(mean: torch.Tensor, covariance: torch.Tensor, n: int, seed: int) -> torch.Tensor:
    """Features (n, D) whose sample mean and covariance are exactly these."""
    noise = torch.randn(n, len(mean), dtype=torch.double, generator=torch.Generator().manual_seed(seed))
    noise = noise - noise.mean(0)
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(torch.cov(noise.T)), noise.T, upper=False).T
    return mean + white @ torch.linalg.cholesky(covariance).T


def gaussian(n: int, seed: int, mean: float = 0.0, scale: float = 1.0) -> Tensor:
    return torch.randn(n, 4, generator=torch.Generator().manual_seed(seed)) * scale + mean


def test_fid_of_gaussians_equals_the_closed_form() -> None:
    a, b = gaussian(20_000, 0), gaussian(20_000, 1, mean=0.5, scale=2.0)
    # |0.5|^2 + (2 - 1)^2 in each of four dimensions
    assert frechet_distance(a, b) == pytest.approx(4 * (0.25 + 1.0), rel=0.03)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)


@given(seed=st.integers(0, 99))
def test_frechet_distance_of_gaussians_in_the_plane(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    factors = torch.randn(2, 2, 3, dtype=torch.double, generator=generator)
    (a, b), means = factors @ factors.mT, torch.randn(2, 2, dtype=torch.double, generator=generator)
    # In two dimensions tr M^(1/2) = (tr M + 2 det(M)^(1/2))^(1/2).
    product = a @ b
    cross = (product.trace() + 2 * torch.linalg.det(product).sqrt()).sqrt()
    expected = (means[0] - means[1]).square().sum() + a.trace() + b.trace() - 2 * cross
    first, second = gaussian_features(means[0], a, 50, seed), gaussian_features(means[1], b, 60, seed + 1)
    assert frechet_distance(first, second) == pytest.approx(float(expected), rel=1e-6, abs=1e-8)
    assert frechet_distance(second, first) == pytest.approx(float(expected), rel=1e-6, abs=1e-8)


def test_frechet_distance_of_independent_directions() -> None:
    a, b = torch.tensor([1.0, 4.0, 9.0]).double(), torch.tensor([4.0, 4.0, 1.0]).double()
    first = gaussian_features(torch.zeros(3).double(), a.diag(), 40, 0)
    second = gaussian_features(torch.ones(3).double(), b.diag(), 40, 1)
    assert frechet_distance(first, second) == pytest.approx(3 + 1 + 0 + 4)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_with_fewer_samples_than_dimensions() -> None:
    features = torch.randn(5, 20)
    assert frechet_distance(features, features + 1) == pytest.approx(20, rel=1e-4)
    for wrong in (features[:1], torch.randn(5, 19)):
        with pytest.raises(UserError, match=r"cannot be compared|too few"):
            frechet_distance(features, wrong)


def test_kid_equals_the_unbiased_squared_mmd_of_the_cubic_kernel() -> None:
    a, b = gaussian(7, 0).double(), gaussian(7, 1, mean=1.0).double()
    inside = torch.eye(7) == 0
    aa, bb, ab = ((x @ y.T / 4 + 1) ** 3 for x, y in ((a, a), (b, b), (a, b)))
    expected = aa[inside].mean() + bb[inside].mean() - 2 * ab.mean()
    assert kernel_inception_distance(a, b) == pytest.approx(float(expected))


def test_kid_does_not_change_the_global_random_state() -> None:
    state = torch.get_rng_state()
    values = {kernel_inception_distance(gaussian(9, 0), gaussian(5, 1)) for _ in range(2)}
    assert len(values) == 1
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("nearest", [1, 3])
def test_coverage_of_the_same_distribution_matches_theory(nearest: int) -> None:
    n = m = 400
    found = [coverage(gaussian(m, seed), gaussian(n, seed + 100), nearest) for seed in range(5)]
    missed = 1.0
    for i in range(1, nearest + 1):  # Naeem et al., 2020, section 3.2
        missed *= (n - i) / (m + n - i)
    assert sum(found) / 5 == pytest.approx(1 - missed, abs=0.03)


def test_missing_mode_lowers_recall_and_coverage() -> None:
    one_mode = gaussian(200, 0, scale=0.1)
    two_modes = torch.cat([gaussian(100, 1, scale=0.1), gaussian(100, 2, mean=9.0, scale=0.1)])
    for measure in (recall, coverage):
        assert measure(one_mode, two_modes) == pytest.approx(0.5, abs=0.06)
        assert measure(one_mode + 50, two_modes) == 0
        assert measure(two_modes, two_modes) == 1


def test_recall_uses_neighborhoods_of_images_and_coverage_those_of_references() -> None:
    reference = torch.arange(6.0)[:, None]
    wide, narrow = torch.tensor([[0.0], [5.0]]), torch.tensor([[2.0], [2.1]])
    assert recall(wide, reference, nearest=1) == 1  # each image reaches the other
    assert coverage(wide, reference, nearest=1) == pytest.approx(4 / 6)  # 0, 1, 4 and 5 are next to an image
    assert recall(narrow, reference, nearest=1) == pytest.approx(1 / 6)


@pytest.mark.parametrize("measure", [frechet_distance, kernel_inception_distance, recall, coverage])
def test_too_few_images_and_unequal_dimensions_raise_user_error(measure) -> None:
    with pytest.raises(UserError, match="too few"):
        measure(gaussian(1, 0), gaussian(3, 1))
    with pytest.raises(UserError, match="cannot be compared"):
        measure(gaussian(9, 0), gaussian(9, 1)[:, :2])


def test_missing_torch_fidelity_names_the_extra(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(UserError, match=r"pip install torch-fidelity`, or `pip install \.\[evaluate\]`"):
        load_inception()


def test_missing_inception_weights_raise_user_error_with_instructions(monkeypatch, tmp_path) -> None:
    pytest.importorskip("torch_fidelity")
    from torch_fidelity import feature_extractor_inceptionv3

    def unreachable(*args, **kwargs):
        raise OSError("no route")

    monkeypatch.setattr(feature_extractor_inceptionv3, "load_state_dict_from_url", unreachable)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(UserError, match=r"no route.*checkpoints"):
        load_inception()


def test_inception_gets_uint8_images_of_any_size(monkeypatch) -> None:
    pytest.importorskip("torch_fidelity")
    from torch_fidelity import feature_extractor_inceptionv3

    monkeypatch.setattr(feature_extractor_inceptionv3, "load_state_dict_from_url", lambda *args, **kwargs: {})
    extractor = feature_extractor_inceptionv3.FeatureExtractorInceptionV3
    monkeypatch.setattr(extractor, "load_state_dict", lambda self, weights: None)  # random ones do
    network = load_inception()
    assert network(torch.rand(2, 3, 20, 30)).shape == (2, 2048)
