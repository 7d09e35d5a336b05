"""Samplers guided by the measurement: DPS (Chung et al., 2022) and PSLD (Rout et al., 2023).

Both follow the gradient of |y - A(x_0)| at the one-step estimate x_0, through the network. Norms are of images in
[-1, 1].
"""

import torch
from torch import Tensor

from ..priors import Prior
from .problem import Problem
from .settings import SolverConfig
from .solver import Solver, root_mean_square


class PosteriorSampler(Solver):
    """DPS: DDIM steps of independent particles; arguments as in `Solver`."""

    def __init__(self, config: SolverConfig, problem: Problem, prior: Prior) -> None:
        super().__init__(config, problem, prior)
        self.timesteps = self.descending_timesteps()
        self.clips = config.clip_estimate and not prior.is_latent

    def step(self, step: int) -> dict[str, float]:
        t = self.timesteps[step]
        moved, squared = [], 0.0
        chunk = self.config.chunk_size or self.n_images * self.config.n_particles
        n = max(1, chunk // self.n_images)
        fresh = self.noise("sampling", step, self.prior.latent_shape)
        for part, noise in zip(self.z.split(n, 1), fresh.split(n, 1), strict=True):  # particles are independent
            z_t = part.detach().requires_grad_()
            flat = z_t.flatten(0, 1)
            with torch.enable_grad():
                predicted = self.differentiable_noise(flat, t).view_as(z_t)
                alpha, sigma = self.prior.alpha(t), self.prior.sigma(t)
                estimate = (z_t - sigma * predicted) / alpha
                if self.clips:  # near t = T, dividing by the small alpha_t makes the estimate huge
                    estimate = estimate.clamp(-1, 1)
                images = self.decode(estimate)
                residual = 2 * self.residual(images)
                loss = self.loss(estimate, images, residual).sum()
                (gradient,) = torch.autograd.grad(loss, z_t)
            moved.append(self._ddim(step, estimate.detach(), predicted.detach(), noise) - gradient)
            squared += root_mean_square(residual / 2) ** 2 * part.shape[1] / self.z.shape[1]
        self.z = torch.cat(moved, dim=1)
        return {"residual": squared**0.5}

    def loss(self, estimate: Tensor, images: Tensor, residual: Tensor) -> Tensor:
        """Loss that the particles descend, (M, N): zeta |y - A(x_0)|, whose gradient is DPS's normalized step.

        Args:
            estimate: one-step estimates of x_0, (M, N, ...).
            images: decoded estimates, (M, N, C, H, W) in [0, 1].
            residual: 2 (y - A(images)), (M, N, ...).
        """
        norm: Tensor = residual.flatten(2).norm(dim=2)
        return self.config.number("likelihood_step") * norm

    def _ddim(self, step: int, estimate: Tensor, predicted: Tensor, noise: Tensor) -> Tensor:
        """Particles at the next timestep (Song et al., 2021, eq. 12, for any alpha and sigma); finally the estimate."""
        if step == self.n_steps - 1:
            return estimate
        t, following = self.timesteps[step : step + 2]
        if t == following:
            return self.prior.alpha(t) * estimate + self.prior.sigma(t) * predicted
        alpha, sigma = self.prior.alpha(t), self.prior.sigma(t)
        next_alpha, next_sigma = self.prior.alpha(following), self.prior.sigma(following)
        spread = (
            self.config.number("stochasticity")
            * next_sigma
            / sigma.where(sigma > 0, torch.inf)
            * (sigma**2 - (alpha / next_alpha * next_sigma) ** 2).sqrt()
        )
        along = (next_sigma**2 - spread**2).clamp_min(0).sqrt()
        return next_alpha * estimate + along * predicted + spread * noise


class LatentPosteriorSampler(PosteriorSampler):
    """PSLD: DPS through the decoder, plus a term that prefers latents that the autoencoder maps to themselves.

    Raises:
        UserError: the operator is not linear, or the prior has no decoder.
    """

    def __init__(self, config: SolverConfig, problem: Problem, prior: Prior) -> None:
        problem.require_linear("psld", "rsd, latent-reddiff")
        super().__init__(config, problem, prior)

    def loss(self, estimate: Tensor, images: Tensor, residual: Tensor) -> Tensor:
        glued = images + self._adjoint(residual / 2)  # A^T y + (I - A^T A) D(z)
        encoded = self.prior.encode(glued.flatten(0, 1)).view_as(estimate)
        gap: Tensor = (estimate - encoded).flatten(2).norm(dim=2)
        return super().loss(estimate, images, residual) + self.config.number("gluing") * gap

    def _adjoint(self, y: Tensor) -> Tensor:
        return torch.stack([self.problem.physics.A_adjoint(part) for part in y.unbind(1)], dim=1)
