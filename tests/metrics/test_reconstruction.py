"""Reconstruction metrics against their definitions, the LPIPS library and arithmetic."""

import math
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from threestudio_rsd.errors import UserError
from threestudio_rsd.metrics import lpips_distance, measurement_residual, psnr, reconstruction_metrics, ssim


def pictures(n: int, seed: int = 0, size: int = 32) -> torch.Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def random_lpips():
    lpips = pytest.importorskip("lpips")
    torch.manual_seed(0)
    return lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).requires_grad_(False).eval()


@given(offset=st.floats(0.001, 0.5))
def test_psnr_of_a_constant_offset(offset: float) -> None:
    reference = 0.5 * pictures(2)
    torch.testing.assert_close(
        psnr(reference + offset, reference), torch.full((2,), -20 * math.log10(offset)), rtol=1e-3, atol=1e-3
    )


def test_psnr_is_per_image_clamped_and_finite_for_equal_images() -> None:
    reference = pictures(3)
    images = reference.clone()
    images[1] += 0.1
    values = psnr(images.clamp(0, 1), reference)
    assert values.shape == (3,)
    assert values[0] == values[2] == pytest.approx(100, abs=1e-3)
    assert values[1] < 30
    white = torch.ones(1, 3, 8, 8)
    assert psnr(white + 5, white) == pytest.approx(100, abs=1e-3)


def plain_ssim(image: np.ndarray, reference: np.ndarray) -> float:
    """Wang et al. (2004), window by window, on (3, H, W), with a window around every pixel: borders are reflected.

    scikit-image and torchmetrics before 1.5 leave out the 5 pixels along the border.
    """
    offsets = np.arange(-5, 6)
    weights = np.exp(-(offsets**2) / (2 * 1.5**2))
    window = np.outer(weights, weights) / weights.sum() ** 2
    a, b = (
        sliding_window_view(np.pad(part, ((0, 0), (5, 5), (5, 5)), mode="reflect"), (11, 11), axis=(1, 2))
        for part in (image, reference)
    )

    def mean(values: np.ndarray) -> np.ndarray:
        return (window * values).sum((-2, -1), keepdims=True)

    a_mean, b_mean = mean(a), mean(b)
    a_variance, b_variance = mean((a - a_mean) ** 2), mean((b - b_mean) ** 2)
    covariance = mean((a - a_mean) * (b - b_mean))
    luminance = (2 * a_mean * b_mean + 0.01**2) / (a_mean**2 + b_mean**2 + 0.01**2)
    structure = (2 * covariance + 0.03**2) / (a_variance + b_variance + 0.03**2)
    return float((luminance * structure).mean())


@pytest.mark.parametrize("n", [1, 3])
def test_psnr_and_ssim_agree_with_their_definitions(n: int) -> None:
    reference = pictures(n)
    noise = torch.randn(reference.shape, generator=torch.Generator().manual_seed(1))
    images = (reference + 0.2 * noise).clamp(0, 1)
    psnrs, ssims = psnr(images, reference), ssim(images, reference)
    assert psnrs.shape == ssims.shape == (n,)
    for index in range(n):
        a, b = images[index].double().numpy(), reference[index].double().numpy()
        assert float(psnrs[index]) == pytest.approx(10 * math.log10(1 / ((a - b) ** 2).mean()), abs=1e-4)
        assert float(ssims[index]) == pytest.approx(plain_ssim(a, b), abs=1e-5)


def test_lpips_network_gets_images_in_minus_1_to_1(random_lpips) -> None:
    images, reference = pictures(3, 1, 64), pictures(3, 2, 64)
    expected = random_lpips(images, reference, normalize=True).flatten()
    torch.testing.assert_close(lpips_distance(images, reference, random_lpips), expected)
    assert not torch.allclose(random_lpips(images, reference).flatten(), expected)
    assert lpips_distance(images, images, random_lpips).abs().max() < 1e-6


def test_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(UserError, match=r"pip install '\.\[lpips\]'"):
        lpips_distance(pictures(1), pictures(1))


@given(scale=st.floats(0.01, 10))
def test_residual_equals_the_root_mean_square_per_measurement(scale: float) -> None:
    y = torch.zeros(2, 5)
    produced = torch.stack([torch.full((5,), scale), torch.tensor([0, 0, 0, 0, -scale])])
    expected = scale * torch.tensor([1, math.sqrt(1 / 5)])
    torch.testing.assert_close(measurement_residual(y, produced), expected)


def test_residual_of_unequal_shapes_raises_user_error() -> None:
    with pytest.raises(UserError, match=r"accepted: \(2, 5\)"):
        measurement_residual(torch.zeros(2, 5), torch.zeros(2, 1))


def test_reconstruction_metrics_of_ensembles(random_lpips) -> None:
    truth = pictures(2, size=64)
    reconstructions = torch.stack([truth, (truth + 0.2).clamp(0, 1), 0.5 * truth], dim=1)
    metrics = reconstruction_metrics(reconstructions, truth, random_lpips)
    assert set(metrics) == {"psnr", "ssim", "lpips"}
    for values in metrics.values():
        assert values["particles"].shape == (2, 3)
        assert values["mean_image"].shape == (2,)
        torch.testing.assert_close(values["mean"], values["particles"].mean(1))
    for name in ("psnr", "ssim"):
        assert (metrics[name]["best"] == metrics[name]["particles"][:, 0]).all()
    assert (metrics["lpips"]["best"] == metrics["lpips"]["particles"][:, 0]).all()
    torch.testing.assert_close(metrics["psnr"]["particles"][:, 2], psnr(0.5 * truth, truth))
    torch.testing.assert_close(metrics["psnr"]["mean_image"], psnr(reconstructions.mean(1), truth))
    assert set(reconstruction_metrics(reconstructions, truth)) == {"psnr", "ssim"}


def test_shapes_that_would_broadcast_raise_user_error() -> None:
    images = pictures(2)
    for measure in (psnr, ssim, lpips_distance):
        with pytest.raises(UserError, match="cannot be compared"):
            measure(images, images[:1])
    with pytest.raises(UserError, match="do not fit the truth"):
        reconstruction_metrics(images[None], images)
