"""The order-2 potential: its force against the entropy of the kernel's eigenvalues, and its sign by behavior."""

import pytest
import torch
from threestudio_rsd.repulsion import RBFKernel, RepulsiveForce, order_two, squared_distances


def order_two_force(kernel: RBFKernel | None = None, chunk_size: int | None = None) -> RepulsiveForce:
    return RepulsiveForce("euclidean", kernel, form="order_two", chunk_size=chunk_size)


def entropy(x: torch.Tensor, h: float) -> torch.Tensor:
    """H_2 of the eigenvalues of K / N."""
    kernel = torch.exp(-squared_distances(x, x) / h)
    return -torch.linalg.eigvalsh(kernel / len(x)).square().sum().log()


@pytest.mark.parametrize("n", [2, 3, 8])
def test_force_is_the_gradient_of_the_entropy_of_the_eigenvalues(n: int) -> None:
    x = torch.randn(n, 3, dtype=torch.float64).requires_grad_()
    expected = -n * torch.autograd.grad(entropy(x, 1.7), x)[0]
    torch.testing.assert_close(order_two_force(RBFKernel(1.7))(x), expected)


def test_potential_is_minus_the_entropy_for_every_particle() -> None:
    x = torch.randn(2, 4, 3, dtype=torch.float64)
    expected = -torch.stack([entropy(ensemble, 1.7) for ensemble in x])[:, None].expand(2, 4)
    torch.testing.assert_close(order_two(x, RBFKernel(1.7)), expected)


def test_two_particles_in_closed_form() -> None:
    """-2 H_2 = 2 log (1 + k^2) - 2 log 2, so R_1 = 4 k / (1 + k^2) * k', with k' = -2 k (x_1 - x_2) / h."""
    x, h = torch.tensor([[0.0], [0.6]], dtype=torch.float64), 0.5
    k = torch.exp(torch.tensor(-(0.6**2) / h, dtype=torch.float64))
    first = 4 * k / (1 + k**2) * (-2 * k * -0.6 / h)
    torch.testing.assert_close(order_two_force(RBFKernel(h))(x), torch.stack([first, -first])[:, None])


@pytest.mark.parametrize("n", [2, 3, 8])
def test_descending_the_force_moves_particles_apart(n: int) -> None:
    x = torch.randn(n, 6)
    force, before = order_two_force(), torch.pdist(x).mean()
    for _ in range(20):
        x = x - 0.3 * force(x)
    assert torch.pdist(x).mean() > before * 1.05


def test_ensembles_are_independent_and_chunks_change_nothing() -> None:
    x = torch.randn(6, 4, dtype=torch.float64)
    force = order_two_force(chunk_size=2)
    torch.testing.assert_close(force(x, ensembles=2), torch.cat([force(x[:3]), force(x[3:])]))
    torch.testing.assert_close(force(x), order_two_force()(x))


def test_force_does_not_depend_on_the_number_of_particles() -> None:
    """Three copies of a pair are pushed as hard as the pair alone."""
    x = torch.tensor([[0.0], [0.4]], dtype=torch.float64)
    force = order_two_force(RBFKernel(1.0))
    torch.testing.assert_close(force(x.repeat(3, 1))[:2], force(x))
