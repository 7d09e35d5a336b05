"""The repulsive force: against gradients derived by hand, its sign by behavior, and its limits."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from threestudio_rsd.errors import UserError
from threestudio_rsd.repulsion import POTENTIALS, RBFKernel, RepulsiveForce, kernels, squared_distances

FORMS = tuple(POTENTIALS)


def by_hand(x: torch.Tensor, h: float, include_self: bool) -> torch.Tensor:
    """Gradient of log sum_j exp(-|x_i - x_j|^2 / h) in closed form: -2/h sum_j p_ij (x_i - x_j)."""
    force = torch.zeros_like(x)
    for i in range(len(x)):
        others = [j for j in range(len(x)) if include_self or j != i]
        kernel = torch.stack([torch.exp(-(x[i] - x[j]).square().sum() / h) for j in others])
        for weight, j in zip(kernel / kernel.sum(), others, strict=True):
            force[i] -= 2 / h * weight * (x[i] - x[j])
    return force


@pytest.mark.parametrize("include_self", [False, True])
def test_force_matches_the_closed_form(include_self: bool) -> None:
    x = torch.randn(5, 3, dtype=torch.float64)
    force = RepulsiveForce("euclidean", RBFKernel(1.7), include_self=include_self)(x)
    torch.testing.assert_close(force, by_hand(x, 1.7, include_self))


def test_median_bandwidth_is_the_formula() -> None:
    x = torch.tensor([[0.0], [1.0], [3.0]], dtype=torch.float64)  # distances 1, 2, 3
    h = RBFKernel().h(squared_distances(x, x))
    assert h.item() == pytest.approx(2**2 / math.log(3))
    torch.testing.assert_close(RepulsiveForce("euclidean")(x), by_hand(x, h.item(), False))


@pytest.mark.parametrize("form", ["log_sum", "sum_log", "sum"])  # order_two: see test_potentials.py
@pytest.mark.parametrize("n", [2, 3, 8])
def test_descending_the_force_moves_particles_apart(form: str, n: int) -> None:
    x = torch.randn(n, 6)
    force = RepulsiveForce("euclidean", form=form)
    before = torch.pdist(x).mean()
    for _ in range(20):
        x = x - 0.05 * force(x)
    assert torch.pdist(x).mean() > before * 1.05


def test_particles_repel_in_the_feature_space_of_a_network() -> None:
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(27, 8), torch.nn.Tanh(), torch.nn.Linear(8, 4))
    force = RepulsiveForce(network)
    x = torch.rand(4, 3, 3, 3)
    before = torch.pdist(network(x)).mean()
    for _ in range(20):
        x = x - 0.02 * force(x)
    assert torch.pdist(network(x)).mean() > before
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_force_between_identical_particles_is_zero(form: str, n: int) -> None:
    assert torch.equal(RepulsiveForce("euclidean", form=form)(torch.ones(n, 4)), torch.zeros(n, 4))


def test_one_particle_runs_no_network() -> None:
    def fail(x: torch.Tensor) -> torch.Tensor:
        raise AssertionError("a single particle is compared with no other")

    assert torch.equal(RepulsiveForce(fail)(torch.ones(1, 4)), torch.zeros(1, 4))


@given(
    n=st.integers(1, 6),
    scale=st.sampled_from([0.0, 1e-12, 1e-3, 1.0, 1e4, 1e12]),
    copies=st.booleans(),
    form=st.sampled_from(FORMS),
    include_self=st.booleans(),
)
@settings(max_examples=80)
def test_force_is_always_finite(n: int, scale: float, copies: bool, form: str, include_self: bool) -> None:
    x = torch.randn(n, 3, generator=torch.Generator().manual_seed(n)) * scale
    if copies:
        x[: n // 2 + 1] = x[0].clone()
    force = RepulsiveForce("euclidean", form=form, include_self=include_self)(x)
    assert force.shape == x.shape
    assert force.isfinite().all()


@given(n=st.integers(2, 7), chunk=st.integers(1, 8))
@settings(max_examples=25)
def test_force_in_chunks_equals_force_at_once(n: int, chunk: int) -> None:
    network = torch.nn.Linear(5, 4, dtype=torch.float64)
    x = torch.randn(n, 5, dtype=torch.float64)
    whole, parts = RepulsiveForce(network)(x), RepulsiveForce(network, chunk_size=chunk)(x)
    torch.testing.assert_close(parts, whole, rtol=1e-12, atol=1e-14)


def test_half_precision_particles_do_not_overflow() -> None:
    x = 300 * torch.randn(4, 64)
    force = RepulsiveForce("euclidean")(x.half())  # squared distances overflow float16
    assert force.dtype == torch.float16
    assert force.isfinite().all()
    torch.testing.assert_close(force.float(), RepulsiveForce("euclidean")(x.half().float()), rtol=1e-2, atol=1e-4)


def test_force_acts_at_long_range_unless_self_is_included() -> None:
    near, far = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [50.0]])
    kernel = RBFKernel(1.0)
    assert RepulsiveForce("euclidean", kernel)(far).abs().sum() > RepulsiveForce("euclidean", kernel)(near).abs().sum()
    assert RepulsiveForce("euclidean", kernel, include_self=True)(far).abs().sum() == 0


@pytest.mark.parametrize("options", [{"form": "mean"}, {"chunk_size": 0}, {"features": "dyno"}, {"features": 3}])
def test_invalid_options_raise(options: dict) -> None:
    with pytest.raises(UserError, match="accepted"):
        RepulsiveForce(**{"features": "euclidean", **options})


@pytest.mark.parametrize("bandwidth", [0, -1.0, float("nan"), float("inf"), "mean", True])
def test_invalid_bandwidths_raise(bandwidth: float | str) -> None:
    with pytest.raises(UserError, match="bandwidth"):
        RBFKernel(bandwidth)


def test_distances_in_blocks_are_equal_to_the_bit(monkeypatch):
    """Blocks of rows save memory; distances, gradients and the force are those of one block."""
    features, weights = torch.randn(2, 21, 40), torch.randn(2, 21, 21)
    results = []
    for block in (kernels.BLOCK, 3 * features.numel()):
        monkeypatch.setattr(kernels, "BLOCK", block)
        leaf = features.clone().requires_grad_()
        distances = kernels.squared_distances(leaf, features)
        force = RepulsiveForce("euclidean")(features[0])
        results.append((distances.detach(), torch.autograd.grad((weights * distances).sum(), leaf)[0], force))
    assert results[0][0].grad_fn is None
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)
