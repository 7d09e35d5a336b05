"""The solvers as models of deepinv, on the inpainting problem of its demos, with its metrics."""

import pytest
import torch
from threestudio_rsd.errors import UserError
from threestudio_rsd.inverse.deepinv import PosteriorReconstructor
from threestudio_rsd.toyworld.render import render_scenes
from threestudio_rsd.toyworld.world import choose_scenes

deepinv = pytest.importorskip("deepinv")
SHAPE = (3, 64, 64)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return render_scenes(choose_scenes(2, 3))


def inpainting(sigma: float = 0.02) -> deepinv.physics.Physics:
    """Random inpainting with Gaussian noise, as in deepinv's demo of diffusion posterior sampling."""
    generator = torch.Generator().manual_seed(0)
    noise = deepinv.physics.GaussianNoise(sigma=sigma)
    return deepinv.physics.Inpainting(SHAPE, mask=0.5, noise_model=noise, rng=generator)


@pytest.mark.slow
def test_model_improves_psnr_over_the_pseudo_inverse(images: torch.Tensor) -> None:
    physics = inpainting()
    torch.manual_seed(0)
    y = physics(images)
    model = PosteriorReconstructor("bundled", n_particles=2, n_steps=12, noise="refreshed")
    psnr = deepinv.metric.PSNR()
    assert float(psnr(model(y, physics), images).mean()) > float(psnr(physics.A_dagger(y), images).mean()) + 5


def test_mean_variance_and_first_answer_are_those_of_the_solution(images: torch.Tensor) -> None:
    physics = inpainting()
    y = physics(images[:1])
    model = PosteriorReconstructor("bundled", n_particles=3, n_steps=1)
    solution = model.solve(y, physics, seed=1)
    mean, variance = model.sample(y, physics, seed=1)
    torch.testing.assert_close(mean, solution.reconstructions.mean(1))
    torch.testing.assert_close(variance, solution.reconstructions.var(1))
    torch.testing.assert_close(model(y, physics, seed=1), mean)
    first = PosteriorReconstructor(model.prior, estimate="sample", n_particles=3, n_steps=1)
    torch.testing.assert_close(first(y, physics, seed=1), solution.reconstructions[:, 0])


def test_noise_of_the_operator_weights_the_data(images: torch.Tensor) -> None:
    trusted, doubted = inpainting(0.001), inpainting(10.0)
    y = trusted(images)
    model = PosteriorReconstructor("bundled", n_particles=1, n_steps=2)
    near, far = (float((each.A(model(y, each)) - y).abs().mean()) for each in (trusted, doubted))
    assert near < 0.01 < far


def test_model_runs_in_deepinv_test(images: torch.Tensor) -> None:
    model = PosteriorReconstructor("bundled", n_particles=1, n_steps=2)
    loader = torch.utils.data.DataLoader([(image, inpainting().A(image[None])[0]) for image in images], batch_size=2)
    results = deepinv.test(model, loader, inpainting(), metrics=deepinv.metric.PSNR(), device="cpu", verbose=False)
    assert results["PSNR"] > 0


def test_impossible_arguments_raise_user_error() -> None:
    with pytest.raises(UserError, match="estimate='median'"):
        PosteriorReconstructor("bundled", estimate="median")
    physics = deepinv.physics.Inpainting(SHAPE, noise_model=deepinv.physics.GaussianNoise(torch.tensor([0.1, 0.2])))
    with pytest.raises(UserError, match="one for all measurements"):
        PosteriorReconstructor("bundled").solve(torch.zeros(2, *SHAPE), physics)
