"""Number of particles whose graph is held in memory at once."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

SMALL_CHUNK = 4  # particles that use a device well; more of them at once need more memory and hardly less time
WHOLE_ON_CPU = 8  # largest ensemble that a CPU differentiates at once; beyond it chunks are as fast, by its caches
MEMORY_SHARE = 0.5  # of a GPU's free memory that the graph may take


def choose_chunk_size(n_particles: int, device: torch.device, bytes_per_particle: Callable[[], int]) -> int:
    """Number of particles to differentiate at once: all where memory allows, else SMALL_CHUNK or what fits.

    Args:
        n_particles: number of particles.
        device: device of the particles.
        bytes_per_particle: computes the memory of one particle's graph; called on a GPU only.

    Example:
        >>> cpu = torch.device("cpu")
        >>> [choose_chunk_size(n, cpu, lambda: 0) for n in (4, 8, 9, 64)]
        [4, 8, 4, 4]
    """
    if device.type != "cuda":
        return n_particles if n_particles <= WHOLE_ON_CPU else SMALL_CHUNK
    free, _ = torch.cuda.mem_get_info(device)
    reserved = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # PyTorch's own unused memory
    return fitting_chunk_size(n_particles, int(MEMORY_SHARE * (free + reserved)), bytes_per_particle())


def fitting_chunk_size(n_particles: int, budget: int, bytes_per_particle: int) -> int:
    """Largest accepted chunk size whose graph fits in a budget: n_particles, else at most SMALL_CHUNK and at least 1.

    Args:
        n_particles: number of particles.
        budget: memory, bytes.
        bytes_per_particle: memory of one particle's graph, bytes.

    Example:
        >>> [fitting_chunk_size(20, budget=gib * 2**30, bytes_per_particle=2**30) for gib in (40, 20, 19, 3, 0)]
        [20, 20, 4, 3, 1]
    """
    fitting = budget // max(bytes_per_particle, 1)
    return n_particles if fitting >= n_particles else max(1, min(fitting, SMALL_CHUNK))


def graph_bytes(function: Callable[[Tensor], Tensor], x: Tensor) -> int:
    """Memory of what autograd saves for the backward pass of a function, without its parameters.

    Args:
        function: differentiable function.
        x: input, without gradient.

    Returns:
        Bytes; tensors that share memory count once.
    """
    saved: dict[int, int] = {}

    def record(tensor: Tensor) -> Tensor:
        owner = tensor if tensor._base is None else tensor._base  # the layer's weight, where a transposed view is saved
        if not isinstance(owner, torch.nn.Parameter):
            storage = tensor.untyped_storage()
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.enable_grad(), saved_tensors_hooks(record, lambda tensor: tensor):
        output = function(x.detach().requires_grad_())
    del output
    return sum(saved.values())
