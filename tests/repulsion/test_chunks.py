"""Chunks of the force: exactness, and the memory that decides their size."""

import torch
from threestudio_rsd.repulsion import RepulsiveForce
from threestudio_rsd.repulsion.chunks import SMALL_CHUNK, WHOLE_ON_CPU, graph_bytes


def test_default_chunks_equal_the_whole_ensemble() -> None:
    n = 3 * WHOLE_ON_CPU + 1
    network = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.Tanh(), torch.nn.Linear(16, 5)).double()
    x = torch.randn(n, 6, dtype=torch.float64)
    default, whole = RepulsiveForce(network), RepulsiveForce(network, chunk_size=n)
    torch.testing.assert_close(default(x), whole(x), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(default.kernel_matrix(x), whole.kernel_matrix(x), rtol=1e-12, atol=1e-14)


def test_large_ensembles_pass_in_small_chunks() -> None:
    sizes = []

    def features(x: torch.Tensor) -> torch.Tensor:
        sizes.append(len(x))
        return x.sin()

    RepulsiveForce(features)(torch.randn(WHOLE_ON_CPU + 2, 3))
    assert max(sizes) == SMALL_CHUNK
    sizes.clear()
    RepulsiveForce(features)(torch.randn(WHOLE_ON_CPU, 3))
    assert sizes == [WHOLE_ON_CPU]  # one forward pass


def test_memory_of_a_graph_counts_shared_storage_once_and_no_parameters() -> None:
    linear = torch.nn.Linear(10, 10).requires_grad_(False)
    x = torch.randn(4, 10)
    assert graph_bytes(linear, x) == 0  # the gradient of x needs the frozen weight only
    size = x.numel() * x.element_size()
    assert graph_bytes(lambda value: value.exp(), x) == size  # the output
    assert graph_bytes(lambda value: value.exp().sin().exp(), x) == 2 * size  # sin saves the output of exp
    assert graph_bytes(lambda value: value.exp().square(), x) == size  # both save the same tensor
