"""Random numbers that depend on (seed, stream, step, particle) alone.

So particle i of N does not depend on N, on the rank or on the chunk size, and a resumed run needs no generator state
to go on as if it had not been interrupted.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

STREAMS = (
    "initial",
    "noise",
    "vsd_noise",
    "vsd_timestep",
    "sampling",
    "measurement",
    "operator",
    "camera",
    "geometry",
    "material",
    "background",
    "renderer",
    "views",
    "world_map",
)


def _seed(seed: int, stream: str, step: int, particle: int) -> int:
    words = np.random.SeedSequence([seed, STREAMS.index(stream), step, particle]).generate_state(2, np.uint32)
    return int(words[0]) << 31 ^ int(words[1])


def particle_generator(seed: int, stream: str, step: int = 0, particle: int = 0) -> torch.Generator:
    """Generator on the CPU that depends on nothing but its arguments; `stream` is one of STREAMS."""
    return torch.Generator().manual_seed(_seed(seed, stream, step, particle))


def particle_noise(
    seed: int,
    stream: str,
    step: int,
    n: int,
    shape: tuple[int, ...],
    device: torch.device | str = "cpu",
    first: int = 0,
) -> Tensor:
    """Standard normal noise for the n particles from index `first` on, (n, *shape), drawn on the CPU so that devices
    agree.
    """
    noise = [
        torch.randn(shape, generator=particle_generator(seed, stream, step, particle))
        for particle in range(first, first + n)
    ]
    return torch.stack(noise).to(device)


def particle_timesteps(seed: int, step: int, n: int, total: int, device: torch.device | str = "cpu") -> Tensor:
    """One uniform timestep in [0, total) per particle, (n,), for the training of eps_phi (35)."""
    draws = [_seed(seed, "vsd_timestep", step, particle) % total for particle in range(n)]
    return torch.tensor(draws, device=device)


def particle_chances(seed: int, stream: str, step: int, n: int, chance: float) -> Tensor:
    """Whether something that has this chance happens to each particle, (n,) bool."""
    draws = [torch.rand((), generator=particle_generator(seed, stream, step, particle)) for particle in range(n)]
    return torch.stack(draws) < chance


@contextmanager
def particle_random_state(seed: int, stream: str, particle: int = 0, step: int = 0) -> Iterator[int]:
    """Global generators of Python, NumPy and torch that depend on the arguments alone, for code that draws from them.

    They go on afterwards as if nothing had been drawn. Yields a 31-bit seed for libraries with generators of their
    own.
    """
    python, numpy = random.getstate(), np.random.get_state()
    seed = _seed(seed, stream, step, particle)
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        try:
            torch.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed % 2**32)
            yield seed % 2**31
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
