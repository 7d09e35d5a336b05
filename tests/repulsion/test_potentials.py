"""The order-2 force against the entropy of the kernel's eigenvalues, and its sign by behavior."""

import pytest
import torch
from threestudio_rsd.repulsion import OrderTwoForce, RBFKernel, squared_distances


def entropy(x: torch.Tensor, h: float) -> torch.Tensor:
    """H_2 of the eigenvalues of K / N."""
    kernel = torch.exp(-squared_distances(x, x) / h)
    return -torch.linalg.eigvalsh(kernel / len(x)).square().sum().log()


@pytest.mark.parametrize("n", [2, 3, 8])
def test_it_is_the_gradient_of_the_eigenvalues_entropy(n: int) -> None:
    x = torch.randn(n, 3, dtype=torch.float64).requires_grad_()
    expected = -n * torch.autograd.grad(entropy(x, 1.7), x)[0]
    torch.testing.assert_close(OrderTwoForce("euclidean", RBFKernel(1.7))(x), expected)


def test_two_particles_in_closed_form() -> None:
    """-2 H_2 = 2 log (1 + k^2) - 2 log 2, so R_1 = 4 k / (1 + k^2) * k', with k' = -2 k (x_1 - x_2) / h."""
    x, h = torch.tensor([[0.0], [0.6]], dtype=torch.float64), 0.5
    k = torch.exp(torch.tensor(-(0.6**2) / h, dtype=torch.float64))
    first = 4 * k / (1 + k**2) * (-2 * k * -0.6 / h)
    torch.testing.assert_close(OrderTwoForce("euclidean", RBFKernel(h))(x), torch.stack([first, -first])[:, None])


@pytest.mark.parametrize("n", [2, 3, 8])
def test_descending_it_moves_particles_apart(n: int) -> None:
    x = torch.randn(n, 6)
    force, before = OrderTwoForce("euclidean"), torch.pdist(x).mean()
    for _ in range(20):
        x = x - 0.3 * force(x)
    assert torch.pdist(x).mean() > before * 1.05


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_identical_particles_feel_nothing(n: int) -> None:
    assert torch.equal(OrderTwoForce("euclidean")(torch.ones(n, 4)), torch.zeros(n, 4))


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_is_always_finite(scale: float) -> None:
    x = torch.randn(5, 3) * scale
    x[1] = x[0]
    assert OrderTwoForce("euclidean")(x).isfinite().all()


def test_ensembles_do_not_meet_and_chunks_change_nothing() -> None:
    x = torch.randn(6, 4, dtype=torch.float64)
    force = OrderTwoForce("euclidean", chunk_size=2)
    torch.testing.assert_close(force(x, ensembles=2), torch.cat([force(x[:3]), force(x[3:])]))
    torch.testing.assert_close(force(x), OrderTwoForce("euclidean")(x))


def test_it_means_the_same_for_every_n() -> None:
    """A pair that meets as many copies of itself is pushed as hard as before."""
    x = torch.tensor([[0.0], [0.4]], dtype=torch.float64)
    force = OrderTwoForce("euclidean", RBFKernel(1.0))
    torch.testing.assert_close(force(x.repeat(3, 1))[:2], force(x))
