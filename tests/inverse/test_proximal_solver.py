"""The proximal solver: special cases that are known samplers, its data step, its noise and its state."""

import io

import pytest
import torch
from threestudio_rsd.errors import UserError
from threestudio_rsd.inverse import Problem, SolverConfig, make_solver, solve
from threestudio_rsd.inverse.data_step import data_step
from threestudio_rsd.inverse.refresh_schedule import RefreshSchedule
from torch import Tensor

from tests.inverse.test_solvers import DecodedMixture, FirstValues, Square, euclidean, mixture

THREE_VALUES = FirstValues(2)
THREE_VALUES.total = 3


def solved(prior: object, y: Tensor, physics: object, **settings: object) -> Tensor:
    chosen = {"name": "proximal", "features": euclidean, "progress": False, **settings}
    return solve(y, physics, prior, **chosen).latents


def test_fixed_noise_without_data_equals_ddim() -> None:
    from diffusers import DDIMScheduler

    prior, steps = mixture(), 12
    noise = {"noise": "fixed", "correction_memory": 0.0}
    config = SolverConfig(name="proximal", n_steps=steps, n_particles=3, clip_estimate=False, **noise)
    solver = make_solver(config, Problem(torch.zeros(1, 1), FirstValues(1), 1e6), prior, euclidean)
    scheduler = DDIMScheduler(
        trained_betas=(1 - prior.alphas_cumprod[1:] / prior.alphas_cumprod[:-1]).tolist(), clip_sample=False
    )
    scheduler.alphas_cumprod = prior.alphas_cumprod
    x = solver.z[0].clone()
    for step in range(steps - 1):
        t, following = solver.timesteps[step : step + 2]
        scheduler.num_inference_steps = 1
        scheduler.config.num_train_timesteps = t - following  # diffusers takes t - T / steps as the next timestep
        x = scheduler.step(prior.predict_noise(x, t, prior.embed(), 1.0), t, x).prev_sample
        solver.step(step)
        torch.testing.assert_close(solver.z[0], x, rtol=1e-4, atol=1e-4)


def test_fresh_noise_does_not_depend_on_the_noise_before() -> None:
    config = SolverConfig(name="proximal", noise="fresh", n_steps=2, n_particles=400)
    solver = make_solver(config, Problem(torch.tensor([[0.5]]), FirstValues(1)), mixture(), euclidean)
    before = solver.z.clone()
    solver.timesteps = [999, 998]
    solver.step(0)
    correlation = torch.corrcoef(torch.stack([before[0, :, 1], solver.z[0, :, 1]]))[0, 1]
    assert abs(float(correlation)) < 0.15


def test_data_step_of_a_linear_operator_is_the_minimum() -> None:
    images = torch.rand(2, 3, 3, generator=torch.Generator().manual_seed(0))
    problem = Problem(torch.rand(2, 2, generator=torch.Generator().manual_seed(1)), THREE_VALUES)
    u = data_step(problem, images, 7.0).requires_grad_()
    loss = 7 * (problem.measurement[:, None] - problem.apply_all(u)).square().sum() / 2
    loss = loss + (u - images).square().sum() / 2
    (gradient,) = torch.autograd.grad(loss, u)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-5)


def test_data_step_of_a_nonlinear_operator_reduces_the_residual() -> None:
    images = torch.full((1, 2, 3), 0.5)
    problem = Problem(torch.tensor([[0.36, 0.16, 0.25]]), Square())
    moved = data_step(problem, images, 1e4)
    assert float((moved - torch.tensor([0.6, 0.4, 0.5])).abs().max()) < 0.03


def test_estimates_that_agree_with_the_measurement_are_not_changed_by_the_autoencoder() -> None:
    class LossyMixture(DecodedMixture):
        def encode(self, images: Tensor) -> Tensor:
            return 0.8 * super().encode(images) + 0.3

    y = torch.tensor([[0.3, 0.6]])
    exact, lossy = (
        solved(kind_mixture, y, THREE_VALUES, n_steps=6, measurement_deviation=1e6, noise="refreshed")
        for kind_mixture in (mixture(DecodedMixture), mixture(LossyMixture))
    )
    torch.testing.assert_close(lossy, exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("noise", ["fresh", "fixed", "refreshed"])
def test_latent_answers_agree_with_the_measurement(noise: str) -> None:
    y = torch.tensor([[0.5, 0.45]])
    chosen = {"name": "proximal", "features": euclidean, "progress": False, "n_steps": 30, "noise": noise}
    solution = solve(y, THREE_VALUES, mixture(DecodedMixture), **chosen)
    assert float((solution.reconstructions[..., :2] - y).abs().max()) < 0.01
    assert solution.mean.shape == solution.standard_deviation.shape == (1, 3)
    torch.testing.assert_close(solution.mean, solution.reconstructions.mean(1))


@pytest.mark.parametrize("level", [0.5, 3.0])
def test_the_correction_follows_the_jacobian_of_the_estimate(level: float) -> None:
    """The corrected estimate moves by a J^T c, with J of autograd; a is the least that keeps c, or 1 + lambda^2."""
    prior = mixture()
    config = SolverConfig(name="proximal", n_steps=2, n_particles=1, noise="fixed", jacobian_interval=[0.0, 1e9])
    config.correction_memory = 0.0
    solver = make_solver(config, Problem(torch.tensor([[0.5]]), FirstValues(1), 0.0), prior, euclidean)
    levels = prior.sigma(torch.arange(1000)) / prior.alpha(torch.arange(1000))
    t = int((levels.flatten() - level).abs().argmin())
    solver.timesteps = [t, t]  # the same level again: alpha x_0|y + sigma eps with the noise of x_0|y is x_t itself
    x_t = torch.tensor([0.3, -0.4])
    solver.z = x_t[None, None]
    solver._renew = lambda noise, step, level: torch.zeros_like(noise)
    solver.step(0)

    def estimate(x: Tensor) -> Tensor:
        return prior.predict_clean(x[None], t, prior.embed(), 1.0)[0]

    clean = estimate(x_t)
    step = 1e-3 * torch.eye(2)
    jacobian = prior.alpha(t) * torch.stack([(estimate(x_t + h) - estimate(x_t - h)) / 2e-3 for h in step], 1).squeeze()
    correction = torch.tensor([0.5 - float(clean[0]), 0.0])
    pulled = jacobian.T @ correction
    scale = min(float(correction @ correction / (correction @ pulled)), 1 + float(levels.flatten()[t]) ** 2)
    expected = clean + scale * pulled
    torch.testing.assert_close(solver.z[0, 0] / prior.alpha(t).squeeze(), expected, rtol=1e-2, atol=1e-3)


def test_repulsion_increases_the_distances_of_particles() -> None:
    def spread(gamma: float) -> float:
        settings = {"n_steps": 40, "n_particles": 6, "gamma": gamma, "prior_deviation": 1.0, "noise": "refreshed"}
        latents = solved(mixture(), torch.tensor([[0.5]]), FirstValues(1), **settings)[0]
        return float(torch.pdist(latents).mean())

    assert spread(3.0) > 1.1 * spread(0.0)


@pytest.mark.parametrize("coupled", [False, True])
def test_particles_depend_on_their_number_only_with_coupled_noise(coupled: bool) -> None:
    y = torch.tensor([[0.5], [0.4], [0.6]])
    settings = {"n_steps": 5, "noise": "refreshed", "noise_coupled": coupled}
    many = solved(mixture(), y, FirstValues(1), n_particles=4, **settings)
    few = solved(mixture(), y[:2], FirstValues(1), n_particles=2, **settings)
    assert torch.allclose(few, many[:2, :2], rtol=1e-5, atol=1e-6) is not coupled


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "proximal", "noise": "refreshed", "gamma": 2.0, "correction_memory": 0.5},
        {"name": "proximal", "noise": "fixed", "noise_coupled": True},
        {"name": "proximal", "jacobian_interval": None},
        {"name": "daps", "langevin_steps": 3},
        {"name": "resample", "consistency_every": 2, "consistency_steps": 3},
    ],
)
def test_resumed_run_is_bit_identical_to_uninterrupted_run(settings: dict) -> None:
    prior, problem = mixture(DecodedMixture), Problem(torch.tensor([[0.3, 0.6]]), THREE_VALUES)

    def fresh():
        return make_solver(SolverConfig(n_steps=6, **settings), problem, prior, euclidean)

    whole, first, second = fresh(), fresh(), fresh()
    for step in range(6):
        whole.step(step)
    for step in range(3):
        first.step(step)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(second.reconstructions(), first.reconstructions())
    for step in range(3, 6):
        second.step(step)
    assert torch.equal(second.z, whole.z)
    assert torch.equal(second.reconstructions(), whole.reconstructions())


@pytest.mark.parametrize("solver", ["proximal", "daps", "resample"])
def test_results_do_not_depend_on_chunk_size(solver: str) -> None:
    y = torch.tensor([[0.3, 0.6], [0.5, 0.5], [0.7, 0.2]])
    settings = {"name": solver, "n_steps": 4}
    whole = solved(mixture(DecodedMixture), y, THREE_VALUES, **settings)
    chunked = solved(mixture(DecodedMixture), y, THREE_VALUES, chunk_size=5, **settings)
    torch.testing.assert_close(chunked, whole, rtol=1e-4, atol=1e-5)


def test_refresh_schedule_interpolates_in_the_logarithm_of_the_level() -> None:
    schedule = RefreshSchedule([[0.1, 0.2], [1.0, 0.4], [100.0, 1.0]])
    assert [round(schedule(level), 6) for level in (0.01, 0.1, 1.0, 10.0, 1e9)] == [0.2, 0.2, 0.4, 0.7, 1.0]
    assert RefreshSchedule(0.3)(5.0) == 0.3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noise": "slow"}, "noise='slow'"),
        ({"noise_refresh_rate": 1.5}, "noise_refresh_rate=1.5"),
        ({"noise_refresh_rate": [[1.0, 0.1], [0.5, 0.2]]}, "ascending levels"),
        ({"noise_refresh_rate": []}, "ascending levels"),
        ({"correction_memory": -1.0}, "correction_memory=-1.0"),
        ({"jacobian_interval": 3.0}, "jacobian_interval=3.0"),
        ({"jacobian_interval": [2.0, 1.0]}, r"jacobian_interval=\[2\.0, 1\.0\]"),
        ({"noise_coupled": True, "n_particles": 1}, "at least 2 particles"),
        ({"name": "resample"}, "needs a prior with a decoder"),
        ({"name": "daps", "gamma": 1.0}, "name='daps'"),
    ],
)
def test_invalid_settings_raise_user_error(settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        solved(mixture(), torch.zeros(1, 1), FirstValues(1), n_steps=2, **settings)


def test_resample_rejects_a_nonlinear_operator() -> None:
    with pytest.raises(UserError, match="linear"):
        solved(mixture(DecodedMixture), torch.zeros(1, 3), Square(), name="resample", n_steps=2)
