"""Noise of the particles: fresh in every step, fixed for the run, or slowly refreshed; independent or coupled."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ...errors import UserError, in_range, one_of
from ...particles import particle_noise

NOISE_KINDS = ("fresh", "fixed", "refreshed")


def refresh_noise(noise: Tensor, new_noise: Tensor, rate: float) -> Tensor:
    """sqrt(1 - g) e + sqrt(g) n: standard normal where both are, with correlation sqrt(1 - g) to e (Yan et al., 2025).

    Args:
        noise: e, any shape.
        new_noise: n, independent of e, like `noise`.
        rate: g in [0, 1]; 0 keeps e, 1 replaces it.

    Example:
        >>> noise = torch.ones(2)
        >>> refresh_noise(noise, torch.zeros(2), 0.0).tolist()
        [1.0, 1.0]
    """
    return math.sqrt(1 - rate) * noise + math.sqrt(rate) * new_noise


def couple_noise(noise: Tensor) -> Tensor:
    """sqrt(N / (N - 1)) (n_i - mean n): noises with mean zero over the ensemble and correlation -1 / (N - 1).

    Each of them stays standard normal. Particle i then depends on N.

    Args:
        noise: independent standard normal noise, (N, ...).

    Raises:
        UserError: N = 1: a single noise has no partner.

    Example:
        >>> coupled = couple_noise(torch.randn(4, 3))
        >>> bool(coupled.mean(0).abs().max() < 1e-6)
        True
    """
    n_particles = len(noise)
    if n_particles < 2:
        raise UserError("Coupled noise needs at least 2 particles; accepted: noise_coupled=false for one particle.")
    return math.sqrt(n_particles / (n_particles - 1)) * (noise - noise.mean(0, keepdim=True))


class NoiseSource:
    """Standard normal noise of every particle as a function of (seed, stream, step, particle).

    A resumed run gets the noise of an uninterrupted one: refreshed noise is computed anew from step 0 where the step
    before is not at hand.

    Args:
        kind: `fresh`, drawn in every step (SDS); `fixed`, drawn once (clean flow; with the exact step: DDIM); or
            `refreshed`, see `refresh_noise`.
        refresh_rate: g of a step, a number in [0, 1] or a function of the step; `refreshed` only.
        coupled: whether the noises of the particles are coupled, see `couple_noise`.
        seed: seed of the run.
        stream: one of `particles.randomness.STREAMS`.

    Raises:
        UserError: an unknown kind, or a rate outside [0, 1].

    Example:
        >>> source = NoiseSource("fixed")
        >>> bool((source(0, 2, (3,)) == source(7, 2, (3,))).all())
        True
    """

    def __init__(
        self,
        kind: str = "fresh",
        refresh_rate: float | Callable[[int], float] = 0.0,
        coupled: bool = False,
        seed: int = 0,
        stream: str = "noise",
    ) -> None:
        one_of("noise", kind, NOISE_KINDS)
        self.kind = kind
        self.refresh_rate = refresh_rate
        self.coupled = coupled
        self.seed = seed
        self.stream = stream
        self.indices: list[int] | None = None  # generator index of each particle; None: 0, 1, 2, ...
        self._rate(0)
        self._last: tuple[object, int, Tensor] | None = None  # particles, step and noise of the last call

    def __call__(
        self,
        step: int,
        n_particles: int,
        shape: tuple[int, ...],
        device: torch.device | str = "cpu",
        first: int = 0,
        total: int | None = None,
    ) -> Tensor:
        """Noise of a step.

        Args:
            step: training step, from 0.
            n_particles: N.
            shape: shape of one particle.
            device: device of the result; the noise is drawn on the CPU, so that devices agree.
            first: index of the first particle.
            total: number of all particles, for coupled noise of some of them; None: n_particles.

        Returns:
            (N, *shape)
        """
        particles = range(first, first + n_particles)
        if self.kind == "fresh":
            return self._draw(step, particles, shape, total).to(device)
        return self._lasting(0 if self.kind == "fixed" else step, particles, shape, total).to(device)

    def _draw(self, step: int, particles: range, shape: tuple[int, ...], total: int | None) -> Tensor:
        if not self.coupled:
            return self._independent(step, particles, shape)
        if total is None:
            return couple_noise(self._independent(step, particles, shape))
        return couple_noise(self._independent(step, range(total), shape))[particles.start : particles.stop]

    def _independent(self, step: int, particles: range, shape: tuple[int, ...]) -> Tensor:
        first, n_particles = particles.start, len(particles)
        if self.indices is None:
            return particle_noise(self.seed, self.stream, step, n_particles, shape, first=first)
        chosen = self.indices[first : first + n_particles]
        return torch.cat([particle_noise(self.seed, self.stream, step, 1, shape, first=index) for index in chosen])

    def _lasting(self, step: int, particles: range, shape: tuple[int, ...], total: int | None) -> Tensor:
        """Noise of step 0, refreshed up to `step`; continues from the last call if it was for the same particles."""
        key = (particles, tuple(shape), total, None if self.indices is None else tuple(self.indices))
        if self._last is not None and self._last[0] == key and self._last[1] <= step:
            _, last_step, noise = self._last
        else:
            last_step, noise = 0, self._draw(0, particles, shape, total)
        for each in range(last_step + 1, step + 1):
            noise = refresh_noise(noise, self._draw(each, particles, shape, total), self._rate(each))
        self._last = key, step, noise
        return noise

    def _rate(self, step: int) -> float:
        rate = float(self.refresh_rate(step) if callable(self.refresh_rate) else self.refresh_rate)
        in_range("noise_refresh_rate", rate, 0.0, 1.0)
        return rate
