"""Solvers of inverse problems against Algorithm 2 as printed, and on a prior with a known posterior."""

import io
from collections.abc import Callable

import pytest
import torch
from threestudio_rsd.distillation import TimestepSchedule
from threestudio_rsd.errors import UserError
from threestudio_rsd.inverse import Problem, SolverConfig, make_solver, solve
from threestudio_rsd.inverse import solver as solver_module
from threestudio_rsd.priors import GaussianMixturePrior
from threestudio_rsd.repulsion import RepulsiveForce
from torch import Tensor


class FirstValues:
    """Linear operator that returns the first k values of each image (M, D)."""

    def __init__(self, seen: int) -> None:
        self.seen = seen

    def A(self, x: Tensor) -> Tensor:  # noqa: N802 deepinv's name
        return x[:, : self.seen]

    def A_adjoint(self, y: Tensor) -> Tensor:  # noqa: N802 deepinv's name
        return torch.cat([y, torch.zeros(len(y), self.total - self.seen)], dim=1)

    total = 2

    def prox_l2(self, z: Tensor, y: Tensor, gamma: float) -> Tensor:
        seen = (gamma * y + z[:, : self.seen]) / (gamma + 1)
        return torch.cat([seen, z[:, self.seen :]], dim=1)


class Square:
    """Nonlinear operator."""

    def A(self, x: Tensor) -> Tensor:  # noqa: N802 deepinv's name
        return x.square()


class DecodedMixture(GaussianMixturePrior):
    """Gaussian mixture prior with a nonlinear decoder from latents (2,) to images (3,)."""

    is_latent = True
    matrix = torch.tensor([[0.5, -0.3, 0.8], [0.2, 0.9, -0.4]])

    def decode(self, latents: Tensor, clamp: bool = True) -> Tensor:
        images = torch.sigmoid(latents @ self.matrix)
        return images.clamp(0, 1) if clamp else images

    def encode(self, images: Tensor) -> Tensor:
        return images.logit(1e-4) @ torch.linalg.pinv(self.matrix)


def mixture(kind: type = GaussianMixturePrior) -> GaussianMixturePrior:
    """Gaussian mixture prior with two modes that have the same first value."""
    return kind(torch.tensor([[0.5, 0.1], [0.5, 0.9]]), torch.tensor([0.003, 0.003]), torch.tensor([0.5, 0.5]))


def euclidean(images: Tensor) -> Tensor:
    return images.flatten(1)


def run(
    prior: GaussianMixturePrior,
    measurement: Tensor,
    physics: object,
    features: Callable[[Tensor], Tensor] = euclidean,
    **settings: object,
) -> Tensor:
    solution = solve(measurement, physics, prior, features=features, progress=False, **settings)
    return solution.latents


@pytest.mark.parametrize("kernel_input", ["noisy", "clean", "denoised"])
@pytest.mark.parametrize("gamma", [0.0, 3.0])
def test_augmented_solver_equals_algorithm_2(kernel_input: str, gamma: float) -> None:
    prior = mixture(DecodedMixture)
    physics, y = Square(), torch.tensor([[0.3, 0.2, 0.6], [0.1, 0.5, 0.4]])
    steps, regularization, coupling = 6, 0.02, 0.3
    config = SolverConfig(
        n_particles=3, n_steps=steps, gamma=gamma, kernel_input=kernel_input,
        regularization=regularization, coupling=coupling, lr_x=0.05, lr_z=0.03,
    )  # fmt: skip
    solver = make_solver(config, Problem(y, physics), prior, euclidean)
    z, x = (start.detach().clone().requires_grad_() for start in (solver.z, solver.x))
    adam_z = torch.optim.Adam([z], 0.03, betas=(0.9, 0.99))
    adam_x = torch.optim.Adam([x], 0.05, betas=(0.9, 0.99))
    schedule = TimestepSchedule("descending", steps)

    def decoded(latents: Tensor) -> Tensor:  # in units of [-1, 1]
        return 2 * prior.decode(latents.flatten(0, 1), clamp=False).unflatten(0, latents.shape[:2]) - 1

    for step in range(steps):
        t = schedule(step, 0, prior.num_train_timesteps - 1)
        alpha, sigma = prior.alpha(t), prior.sigma(t)
        noise = solver.noise("noise", step, prior.latent_shape)
        z_t = alpha * z.detach() + sigma * noise
        predicted = prior.raw_predict(z_t.flatten(0, 1), t, torch.empty(0)).view_as(z)
        direction = predicted - noise
        if gamma:
            if kernel_input == "clean":
                inputs, decode = z.detach(), prior.decode
            else:
                inputs, decode = (z_t if kernel_input == "noisy" else (z_t - sigma * predicted) / alpha), prior.decode
            force = RepulsiveForce(euclidean, decode=decode)
            direction = direction + gamma * sigma * torch.stack([force(part) for part in inputs])
        pull = (regularization / coupling * sigma / alpha * direction * z).mean(-1)
        loss_z = ((x.detach() - decoded(z)).square().mean(-1) / 2 + pull).sum()
        adam_z.zero_grad()
        loss_z.backward()
        adam_z.step()
        residual = 2 * (y[:, None] - physics.A(x / 2 + 0.5))
        loss_x = (residual.square().mean(-1) + coupling * (x - decoded(z.detach())).square().mean(-1)).sum() / 2
        adam_x.zero_grad()
        loss_x.backward()
        adam_x.step()
        solver.step(step)

    torch.testing.assert_close(solver.z, z, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(solver.x, x, rtol=1e-4, atol=1e-5)


def test_closed_form_x_step_minimizes_the_objective() -> None:
    prior, y = mixture(), torch.tensor([[0.2]])
    config = SolverConfig(n_particles=3, n_steps=2, x_step="closed-form", coupling=0.4)
    solver = make_solver(config, Problem(y, FirstValues(1)), prior)
    solver.step(0)
    solver.step(1)
    x = solver.x.detach().clone().requires_grad_()
    gap = x - (2 * solver.z.detach() - 1)
    residual = 2 * (y[:, None] - (x / 2 + 0.5)[..., :1])
    loss = (residual.square().mean(-1) + 0.4 * gap.square().mean(-1)).sum() / 2
    (gradient,) = torch.autograd.grad(loss, x)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-6)


@pytest.mark.parametrize("solver", ["rsd", "latent-reddiff"])
@pytest.mark.parametrize("n_repelled", [0, 1])
def test_repulsion_of_fewer_than_two_particles_changes_nothing(solver: str, n_repelled: int) -> None:
    prior, y = mixture(DecodedMixture), torch.full((1, 3), 0.4)
    base = run(prior, y, Square(), name=solver, n_steps=5)
    assert torch.equal(run(prior, y, Square(), name=solver, n_steps=5, gamma=9.0, n_repelled=n_repelled), base)
    mixed = run(prior, y, Square(), name=solver, n_steps=5, gamma=9.0, n_repelled=2)
    assert torch.equal(mixed[:, 2:], base[:, 2:])
    assert not torch.equal(mixed[:, :2], base[:, :2])


@pytest.mark.parametrize("solver", ["rsd", "latent-reddiff", "psld"])
def test_results_do_not_depend_on_chunk_size(solver: str) -> None:
    prior = mixture(DecodedMixture)
    physics = FirstValues(2)
    physics.total = 3
    y = torch.tensor([[0.3, 0.6], [0.5, 0.5], [0.7, 0.2]])
    gamma = 0.0 if solver == "psld" else 2.0
    whole = run(prior, y, physics, name=solver, n_steps=4, gamma=gamma)
    chunked = run(prior, y, physics, name=solver, n_steps=4, gamma=gamma, chunk_size=5)
    torch.testing.assert_close(chunked, whole, rtol=1e-5, atol=1e-6)


def test_many_rows_pass_in_chunks_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a chunk_size, and to the same result."""
    rows = []

    class Counted(DecodedMixture):
        def decode(self, latents: Tensor, clamp: bool = True) -> Tensor:
            rows.append(len(latents))
            return super().decode(latents, clamp)

    y = torch.tensor([[0.3, 0.6], [0.5, 0.5], [0.7, 0.2]])
    physics = FirstValues(2)
    physics.total = 3
    whole = run(mixture(DecodedMixture), y, physics, name="proximal", n_steps=4, chunk_size=100)
    monkeypatch.setattr(solver_module, "ROWS_ON_CPU", 5)
    chunked = run(mixture(Counted), y, physics, name="proximal", n_steps=4)
    assert max(rows) == 5
    torch.testing.assert_close(chunked, whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("solver", ["rsd", "reddiff", "dps"])
def test_results_do_not_depend_on_the_number_of_particles_and_images(solver: str) -> None:
    prior, y = mixture(), torch.tensor([[0.5], [0.4], [0.6]])
    many = run(prior, y, FirstValues(1), name=solver, n_steps=5, n_particles=4)
    few = run(prior, y[:2], FirstValues(1), name=solver, n_steps=5, n_particles=2)
    torch.testing.assert_close(few, many[:2, :2], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("solver", ["rsd", "latent-reddiff", "psld"])
def test_resumed_run_is_bit_identical_to_uninterrupted_run(solver: str) -> None:
    prior = mixture(DecodedMixture)
    physics = FirstValues(2)
    physics.total = 3
    gamma = 0.0 if solver == "psld" else 2.0
    config = SolverConfig(name=solver, n_steps=6, gamma=gamma)

    def fresh():
        return make_solver(config, Problem(torch.tensor([[0.3, 0.6]]), physics), prior, euclidean)

    whole, first = fresh(), fresh()
    for step in range(6):
        whole.step(step)
    for step in range(3):
        first.step(step)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = fresh()
    second.load_state_dict(torch.load(file, weights_only=True))
    for step in range(3, 6):
        second.step(step)
    assert torch.equal(second.z, whole.z)
    assert torch.equal(second.reconstructions(), whole.reconstructions())


@pytest.mark.parametrize("solver", ["rsd", "reddiff", "proximal", "daps", "dps"])
def test_state_from_the_cpu_returns_to_the_device_of_the_solver(solver: str) -> None:
    config, prior, problem = (
        SolverConfig(name=solver, n_steps=6),
        mixture(),
        Problem(torch.tensor([[0.5]]), FirstValues(1)),
    )
    first = make_solver(config, problem, prior, euclidean)
    for step in range(2):
        first.step(step)
    _ = prior.last_timestep  # is read from the levels, which the meta device does not have
    second = make_solver(config, problem, prior.to("meta"), euclidean)
    second.load_state_dict(first.state_dict())
    state = second.state_dict()
    moments = [each for key, adam in state.items() if key.startswith("adam") for each in adam["state"][0].items()]
    tensors = [value for value in state.values() if isinstance(value, Tensor)]
    tensors += [value for name, value in moments if name != "step"]  # Adam counts on the CPU
    assert {each.device.type for each in tensors} == {"meta"}


@pytest.mark.parametrize("solver", ["rsd", "reddiff"])
def test_repulsion_increases_the_distances_of_particles(solver: str) -> None:
    prior, y = mixture(), torch.tensor([[0.5]])

    def spread(gamma: float) -> float:
        settings = {"name": solver, "n_steps": 100, "n_particles": 6, "lr_z": 0.05, "kernel_input": "clean"}
        latents = run(prior, y, FirstValues(1), gamma=gamma, **settings)[0]
        return float(torch.pdist(latents).mean())

    assert spread(2.0) > 1.2 * spread(0.0)


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "dps", "n_steps": 200, "likelihood_step": 0.02, "clip_estimate": False},
        {"name": "rsd", "n_steps": 300, "gamma": 0.3, "x_step": "closed-form", "lr_z": 0.05, "coupling": 0.1},
        {"name": "reddiff", "n_steps": 300, "gamma": 1.0, "lr_z": 0.05},
    ],
    ids=["dps", "rsd", "reddiff"],
)
def test_both_modes_of_a_known_posterior_are_found(settings: dict) -> None:
    """The first value is measured; the posterior of the second has half its weight at 0.1 and half at 0.9."""
    latents = run(mixture(), torch.tensor([[0.53]]), FirstValues(1), n_particles=16, kernel_input="clean", **settings)
    seen, hidden = latents[0].unbind(-1)
    assert abs(float(seen.mean()) - 0.53) < 0.05
    nearest = torch.minimum((hidden - 0.1).abs(), (hidden - 0.9).abs())
    assert float(nearest.median()) < 0.2  # the modes lie 0.8 apart; gradient noise keeps rsd's particles moving
    high = float((hidden > 0.5).float().mean())
    assert 0.15 < high < 0.85


@pytest.mark.slow
def test_posterior_sampler_with_zero_likelihood_step_samples_the_prior() -> None:
    deviation = 0.15  # far above sigma_0 = 0.03, below which no sampler of this schedule resolves anything
    means, weights = torch.tensor([[0.5, -1.0], [0.5, 1.0]]), torch.tensor([0.5, 0.5])
    prior = GaussianMixturePrior(means, torch.full((2,), deviation**2), weights)
    settings = {"name": "dps", "likelihood_step": 0.0, "n_steps": 300, "n_particles": 400, "clip_estimate": False}
    latents = run(prior, torch.zeros(1, 1), FirstValues(1), **settings)[0]
    assert abs(float(latents[:, 0].mean()) - 0.5) < 0.04
    assert abs(float(latents[:, 0].std()) / deviation - 1) < 0.15
    assert 0.4 < float((latents[:, 1] > 0).float().mean()) < 0.6


def test_dps_clips_its_estimate_to_the_range_of_images() -> None:
    prior = GaussianMixturePrior(torch.tensor([[1.5, -1.5]]), torch.full((1,), 0.01), torch.ones(1))
    settings = {"name": "dps", "likelihood_step": 0.0, "n_steps": 20}
    free = run(prior, torch.zeros(1, 1), FirstValues(1), clip_estimate=False, **settings)
    assert float(free.abs().min()) > 1
    assert float(run(prior, torch.zeros(1, 1), FirstValues(1), **settings).abs().max()) <= 1


def test_measured_values_are_reproduced() -> None:
    prior = mixture()
    for value in (0.1, 0.9):
        latents = run(prior, torch.tensor([[0.5, value]]), FirstValues(2), n_steps=200, lr_z=0.05, x_step="closed-form")
        assert float((latents[..., 1] - value).abs().max()) < 0.15


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "ddrm"}, "name='ddrm'"),
        ({"n_particles": 0}, "n_particles=0"),
        ({"n_steps": 0}, "n_steps=0"),
        ({"gamma": -1.0}, "gamma=-1.0"),
        ({"gamma": float("nan")}, "gamma=nan"),
        ({"gamma": 1.0, "name": "dps"}, "name='dps'"),
        ({"n_repelled": 5}, "n_repelled=5"),
        ({"coupling": 0.0}, "coupling=0"),
        ({"lr_z": -1.0}, "lr_z=-1.0"),
        ({"learning_rate": 1.0}, "learning_rate"),
        ({"name": "psld"}, "needs a prior with a decoder"),
        ({"name": "latent-reddiff"}, "needs a prior with a decoder"),
    ],
)
def test_invalid_settings_raise_user_error(settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        run(mixture(), torch.zeros(1, 1), FirstValues(1), **settings)


def test_pixel_solvers_reject_a_latent_prior() -> None:
    for name in ("dps", "reddiff"):
        with pytest.raises(UserError, match="pixel space"):
            run(mixture(DecodedMixture), torch.zeros(1, 3), Square(), name=name)


@pytest.mark.parametrize("settings", [{"x_step": "closed-form"}, {"name": "psld"}])
def test_linear_methods_reject_a_nonlinear_operator(settings: dict) -> None:
    with pytest.raises(UserError, match="linear"):
        run(mixture(DecodedMixture), torch.zeros(1, 3), Square(), n_steps=2, **settings)


@pytest.mark.parametrize(
    ("measurement", "message"),
    [
        (torch.tensor([[float("nan")]]), "NaN"),
        (torch.zeros(1, 2), r"to \(1, 1\), the measurement is \(1, 2\)"),
        (torch.zeros(0, 1), "shape"),
        (torch.zeros(1), "shape"),
    ],
)
def test_invalid_measurements_raise_user_error(measurement: Tensor, message: str) -> None:
    with pytest.raises(UserError, match=message):
        run(mixture(), measurement, FirstValues(1), n_steps=2)


def test_operators_for_other_image_shapes_raise_user_error() -> None:
    class ForThree:
        def A(self, x: Tensor) -> Tensor:  # noqa: N802 deepinv's name
            return x @ torch.zeros(3, 3)

    with pytest.raises(UserError, match="ForThree does not take the prior's images"):
        run(mixture(), torch.zeros(1, 3), ForThree(), n_steps=2)


def test_history_and_shapes() -> None:
    y = torch.full((2, 1), 0.5)
    solution = solve(y, FirstValues(1), mixture(), n_particles=3, n_steps=4, progress=False)
    assert solution.reconstructions.shape == solution.auxiliary.shape == (2, 3, 2)
    assert {name: len(values) for name, values in solution.history.items()} == {"residual": 4, "coupling": 4}
