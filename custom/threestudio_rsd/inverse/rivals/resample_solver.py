"""ReSample: hard data consistency and stochastic resampling in latent space (Song et al., 2024, arXiv 2307.08123).

DDIM steps; in every k-th step of the last two thirds the estimate x_0 is replaced by one that agrees with y, found by
optimization in pixels in the second third, and of the latent in the last. The next latent is then drawn from

    N((c alpha' x_0|y + sigma'^2 x') / (c + sigma'^2), c sigma'^2 / (c + sigma'^2))

where x' is DDIM's next latent and c = gamma sigma'^2 / alpha^2 (1 - alpha^2 / alpha'^2).
"""

import torch
from torch import Tensor

from ...priors import Prior
from ..data_step import data_step
from ..problem import Problem
from ..settings import SolverConfig
from ..solver import Solver, root_mean_square

PIXEL_WEIGHT = 1e4  # weight of y in the optimization in pixels, which is to fit y
BETAS = (0.9, 0.999)  # of Adam


class ResampleSolver(Solver):
    """ReSample with independent particles; arguments as in `Solver`."""

    def __init__(self, config: SolverConfig, problem: Problem, prior: Prior) -> None:
        problem.require_linear("resample", "rsd, proximal, daps, latent-reddiff")
        super().__init__(config, problem, prior)
        self.timesteps = self.descending_timesteps()
        self.z = prior.sigma(self.timesteps[0]) * self.z

    @torch.no_grad()
    def step(self, step: int) -> dict[str, float]:
        t = self.timesteps[step]
        alpha, sigma = self.prior.alpha(t), self.prior.sigma(t)
        predicted = self.predict_noise(self.z, t)
        estimate = (self.z - sigma * predicted) / alpha
        images = self.decode(estimate)
        found = {"residual": root_mean_square(self.residual(images))}
        is_last = step == self.n_steps - 1
        third = 3 * step // self.n_steps
        acts = third > 0 and (step % int(self.config.number("consistency_every")) == 0 or is_last)
        if acts:
            agreeing = self.encode(data_step(self.problem, images, PIXEL_WEIGHT)) if third == 1 else self._fit(estimate)
        if is_last:
            self.z = agreeing if acts else estimate
            return found
        following = self.timesteps[step + 1]
        next_alpha, next_sigma = self.prior.alpha(following), self.prior.sigma(following)
        unconditional = next_alpha * estimate + next_sigma * predicted
        self.z = self._resample(agreeing, unconditional, step, alpha, next_alpha, next_sigma) if acts else unconditional
        return found

    def _resample(
        self, agreeing: Tensor, unconditional: Tensor, step: int, alpha: Tensor, next_alpha: Tensor, next_sigma: Tensor
    ) -> Tensor:
        """Draw the next latent between the DDIM latent and the noised agreeing estimate."""
        variance = next_sigma**2
        gamma = self.config.number("resampling")
        spread = gamma * variance / alpha**2 * (1 - alpha**2 / next_alpha**2)
        mean = (spread * next_alpha * agreeing + variance * unconditional) / (spread + variance)
        deviation = (spread * variance / (spread + variance)).sqrt()
        return mean + deviation * self.noise("sampling", step, self.prior.latent_shape)

    def _fit(self, estimate: Tensor) -> Tensor:
        """Latents near the estimate whose images agree with y: Adam on |y - A(D(z))|^2."""
        z = estimate.clone().requires_grad_()
        adam = torch.optim.Adam([z], self.config.number("lr_z"), BETAS)
        for _ in range(int(self.config.number("consistency_steps"))):
            z.grad = self.data_gradient(z)
            adam.step()
        return z.detach()
