"""DAPS: decoupled annealing posterior sampling (Zhang et al., CVPR 2025, arXiv 2407.01521), in pixel or latent space.

For each noise level lambda, from high to low: the probability-flow ODE gives an estimate x_0 of the clean particle,
Langevin steps draw from N(x; x_0, r^2 I) exp(-|y - A(D(x))|^2 / (2 beta^2)), and the draw gets fresh noise of the next
level.
"""

import math

import torch
from torch import Tensor

from ...priors import Prior
from ...priors.noise_levels import noise_level
from ..problem import Problem
from ..settings import SolverConfig
from ..solver import Solver, root_mean_square

LOWEST_DEVIATION = 0.01  # beta, deviation of y in the Langevin steps, at least: the authors' value (their tau)


class DecoupledAnnealingSolver(Solver):
    """DAPS with independent particles; arguments as in `Solver`."""

    def __init__(self, config: SolverConfig, problem: Problem, prior: Prior) -> None:
        super().__init__(config, problem, prior)
        self.timesteps = self.descending_timesteps()
        self.z = prior.sigma(self.timesteps[0]) * self.z

    @torch.no_grad()
    def step(self, step: int) -> dict[str, float]:
        t = self.timesteps[step]
        estimate = self._flow(t)
        found = root_mean_square(self.residual(self.decode(estimate)))
        drawn = self._langevin(estimate, step, noise_level(self.prior, t))
        if step == self.n_steps - 1:
            self.z = drawn
        else:
            following = self.timesteps[step + 1]
            noise = self.noise("sampling", step, self.prior.latent_shape)
            self.z = self.prior.alpha(following) * drawn + self.prior.sigma(following) * noise
        return {"residual": found}

    def _flow(self, t: int) -> Tensor:
        """Estimate of x_0 by `ode_steps` steps of DDIM from x_t, evenly spaced in t."""
        times = torch.linspace(t, 0, int(self.config.number("ode_steps")) + 1)[:-1].round().long().tolist()
        x = self.z
        for now, following in zip(times, [*times[1:], None], strict=True):
            alpha, sigma = self.prior.alpha(now), self.prior.sigma(now)
            predicted = self.predict_noise(x, now)
            estimate = (x - sigma * predicted) / alpha
            if self.config.clip_estimate and not self.prior.is_latent:
                estimate = estimate.clamp(-1, 1)
            if following is not None:
                x = (
                    self.prior.alpha(following) * estimate
                    + self.prior.sigma(following) * (x - alpha * estimate) / sigma
                )
        return estimate

    def _langevin(self, estimate: Tensor, step: int, level: float) -> Tensor:
        """Unadjusted Langevin steps of size h / (1 / beta^2 + 1 / r^2) from the estimate."""
        beta = max(self.problem.deviation, LOWEST_DEVIATION)
        r = level / math.hypot(1, level)  # at most 1, the deviation of the prior's particles
        size = self.config.number("langevin_step") / (1 / beta**2 + 1 / r**2)
        steps = int(self.config.number("langevin_steps"))
        x = estimate
        for k in range(steps):
            gradient = self.data_gradient(x) / beta**2 + (x - estimate) / r**2
            noise = self.noise("langevin", step * steps + k, self.prior.latent_shape)
            x = x - size * gradient + math.sqrt(2 * size) * noise
        return x
