"""Random numbers that depend on (seed, stream, step, particle) alone.

So particle i of N does not depend on N, on the rank or on the chunk size, and a resumed run repeats the numbers of an
uninterrupted one without stored generator states.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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
    "langevin",
    "render",
)


def _seed(seed: int, stream: str, step: int, particle: int) -> int:
    words = np.random.SeedSequence([seed, STREAMS.index(stream), step, particle]).generate_state(2, np.uint32)
    return int(words[0]) << 31 ^ int(words[1])


def particle_generator(seed: int, stream: str, step: int = 0, particle: int = 0) -> torch.Generator:
    """Generator on the CPU that depends on its arguments alone.

    Args:
        seed: seed of the run.
        stream: use of the random numbers, one of STREAMS.
        step: index of the step.
        particle: index of the particle.
    """
    return torch.Generator().manual_seed(_seed(seed, stream, step, particle))


def particle_noise(
    seed: int,
    stream: str,
    step: int,
    n_particles: int,
    shape: tuple[int, ...],
    device: torch.device | str = "cpu",
    first: int = 0,
) -> Tensor:
    """Standard normal noise, one generator per particle, drawn on the CPU so that it is the same for every device.

    Args:
        seed: seed of the run.
        stream: use of the noise, one of STREAMS.
        step: index of the step.
        n_particles: number of particles N.
        shape: shape of one particle.
        device: device of the result.
        first: index of the first particle.

    Returns:
        (N, *shape)

    Example:
        >>> two = particle_noise(seed=0, stream="noise", step=5, n_particles=2, shape=(4, 8, 8))
        >>> three = particle_noise(seed=0, stream="noise", step=5, n_particles=3, shape=(4, 8, 8))
        >>> torch.equal(three[:2], two)  # a particle's noise does not depend on the number of particles
        True
    """
    noise = [
        torch.randn(shape, generator=particle_generator(seed, stream, step, particle))
        for particle in range(first, first + n_particles)
    ]
    return torch.stack(noise).to(device)


def particle_timesteps(
    seed: int, step: int, n_particles: int, total: int, device: torch.device | str = "cpu", first: int = 0
) -> Tensor:
    """Uniform random timestep of each particle, for the training of eps_phi (35).

    Args:
        seed: seed of the run.
        step: index of the step.
        n_particles: number of particles N.
        total: number of timesteps T.
        device: device of the result.
        first: index of the first particle.

    Returns:
        Timesteps in [0, T), (N,).
    """
    draws = [_seed(seed, "vsd_timestep", step, particle) % total for particle in range(first, first + n_particles)]
    return torch.tensor(draws, device=device)


def particle_chances(seed: int, stream: str, step: int, n_particles: int, chance: float, first: int = 0) -> Tensor:
    """Independent random events, one per particle.

    Args:
        seed: seed of the run.
        stream: use of the events, one of STREAMS.
        step: index of the step.
        n_particles: number of particles N.
        chance: probability of the event.
        first: index of the first particle.

    Returns:
        Whether the event occurs for each particle, (N,) bool.
    """
    particles = range(first, first + n_particles)
    generators = [particle_generator(seed, stream, step, particle) for particle in particles]
    draws = [torch.rand((), generator=generator) for generator in generators]
    return torch.stack(draws) < chance


class ParticleStreams:
    """Random numbers of each particle in code that draws from the global generators, for one step after the other.

    They depend on (seed, stream, step, particle) alone, also where the code of a particle runs in several parts.

    Args:
        seed: seed of the run.
        stream: use of the random numbers, one of STREAMS.

    Example:
        >>> streams = ParticleStreams(seed=0, stream="render")
        >>> draws = []
        >>> for particle in (0, 1, 0):
        ...     with streams.of(particle):
        ...         draws.append(float(torch.rand(())))
        >>> len(set(draws))  # the second part of particle 0 continues its first
        3
    """

    def __init__(self, seed: int, stream: str) -> None:
        self.seed = seed
        self.stream = stream
        self.begin(0)

    def begin(self, step: int) -> None:
        """Begin a step."""
        self.step = step
        self.states: dict[int, tuple[Any, ...]] = {}  # of the particles whose code has run in this step

    @contextmanager
    def of(self, particle: int) -> Iterator[None]:
        """Context in which the global generators are those of a particle."""
        with particle_random_state(self.seed, self.stream, particle, self.step):
            if particle in self.states:
                set_global_state(self.states[particle])
            yield
            self.states[particle] = global_state()


def global_state() -> tuple[Any, ...]:
    """State of the global generators of Python, NumPy and torch, on the present GPU too."""
    gpu = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), gpu


def set_global_state(state: tuple[Any, ...]) -> None:
    """Set the global generators to a result of `global_state`."""
    python, numpy, cpu, gpu = state
    random.setstate(python)
    np.random.set_state(numpy)
    torch.set_rng_state(cpu)
    if gpu is not None:
        torch.cuda.set_rng_state(gpu)


@contextmanager
def particle_random_state(seed: int, stream: str, particle: int = 0, step: int = 0) -> Iterator[int]:
    """Context in which the global generators of Python, NumPy and torch depend on the arguments alone.

    For code that draws from the global generators. Their states are restored afterwards.

    Args:
        seed: seed of the run.
        stream: use of the random numbers, one of STREAMS.
        particle: index of the particle.
        step: index of the step.

    Yields:
        A 31-bit seed, for libraries with generators of their own.
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
