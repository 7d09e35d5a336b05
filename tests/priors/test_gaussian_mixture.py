"""Gaussian mixture prior: its noise prediction against autograd on the density."""

import pytest
import torch
from threestudio_rsd.errors import UserError
from threestudio_rsd.particles import particle_noise
from threestudio_rsd.priors import GaussianMixturePrior, sample_ancestral
from threestudio_rsd.toyworld import modes_covered


@pytest.fixture
def mixture() -> GaussianMixturePrior:
    return GaussianMixturePrior(
        torch.tensor([[1.0, 0.5], [-1.0, 0.0], [0.0, 2.0]]), torch.tensor([0.1, 0.3, 0.05]), torch.tensor([1.0, 2.0, 1])
    )


@pytest.mark.parametrize("t", [0, 200, 700, 999, torch.tensor([0, 300, 600, 900])])
def test_noise_is_minus_sigma_times_the_score(mixture: GaussianMixturePrior, t: int | torch.Tensor) -> None:
    x = torch.randn(4, 2, requires_grad=True)
    alpha, sigma = mixture.alpha(t), mixture.sigma(t)
    log_density = 0.0
    for k in range(3):
        variance = (alpha**2 * mixture.variances[k] + sigma**2) * torch.ones(4, 1)
        distance = (x - alpha * mixture.means[k]).square().sum(1)
        term = mixture.weights[k] * torch.exp(-distance / (2 * variance[:, 0])) / variance[:, 0]
        log_density = log_density + term
    score = torch.autograd.grad(log_density.log().sum(), x)[0]
    predicted = mixture.predict_noise(x.detach(), t, mixture.embed(), 1.0)
    torch.testing.assert_close(predicted, -sigma * score, rtol=1e-4, atol=1e-5)


def test_the_schedule_is_variance_preserving_and_descending(mixture: GaussianMixturePrior) -> None:
    t = torch.arange(1000)
    torch.testing.assert_close(mixture.alpha(t) ** 2 + mixture.sigma(t) ** 2, torch.ones(1000, 1))
    assert (mixture.alphas_cumprod.diff() < 0).all()
    assert mixture.alphas_cumprod[-1].item() == pytest.approx(0.0047, abs=2e-4)  # Stable Diffusion's last level


def test_images_as_means_keep_their_shape() -> None:
    prior = GaussianMixturePrior(torch.randn(2, 3, 4, 4), torch.ones(2), torch.ones(2))
    x = torch.randn(5, 3, 4, 4)
    assert prior.latent_shape == (3, 4, 4)
    assert prior.predict_noise(x, 500, prior.embed(), 7.5).shape == x.shape


def test_ancestral_sampling_recovers_the_mixture(mixture: GaussianMixturePrior) -> None:
    n = 600
    samples = sample_ancestral(
        mixture,
        mixture.embed(),
        n,
        lambda step: particle_noise(0, "sampling", step, n, (2,)),
        1.0,
        num_inference_steps=60,
    )
    nearest = torch.cdist(samples, mixture.means).argmin(1)
    assert modes_covered(nearest) == 3
    shares = torch.bincount(nearest, minlength=3) / n
    torch.testing.assert_close(shares, mixture.weights, atol=0.07, rtol=0)
    torch.testing.assert_close(samples.mean(0), (mixture.weights[:, None] * mixture.means).sum(0), atol=0.15, rtol=0)


def test_arguments_that_do_not_fit_raise(mixture: GaussianMixturePrior) -> None:
    for variances, weights in ((torch.ones(3), torch.ones(2)), (torch.tensor([1.0, 0.0]), torch.ones(2))):
        with pytest.raises(UserError, match="do not fit 2 means"):
            GaussianMixturePrior(torch.randn(2, 2), variances, weights)
    with pytest.raises(UserError, match=r"x_t of shape \(4, 3\).*\(N, 2"):
        mixture.predict_noise(torch.randn(4, 3), 0, mixture.embed())
    for t in (-1, 1000):
        with pytest.raises(UserError, match=f"t={t} is impossible.*0 to 999"):
            mixture.predict_noise(torch.randn(4, 2), t, mixture.embed())
