"""Sampling with a proximal data step on the denoised estimate, in pixel space or through the encoder of a latent prior.

The loop of DiffPIR (Zhu et al., 2023, arXiv 2305.08995), with the decoupled annealing of DAPS (Zhang et al., 2025,
arXiv 2407.01521) as the case of fresh noise, and the probability-flow ODE as that of fixed noise. For each noise level
lambda = sigma / alpha, from high to low:

    x_0   = D(x_t), the prior's estimate; decoded to an image u
    u_y   = argmin |y - A(u')|^2 / (2 sigma_y^2) + |u' - u|^2 / (2 r^2),     r = s lambda / sqrt(1 + lambda^2)
    x_0|y = x_0 + E(u_y) - E(u)
    eps   = (x_t - alpha (k x_0 + (1 - k) x_0|y)) / sigma
    x_t'  = alpha' x_0|y + sigma' (sqrt(1 - g) eps + sqrt(g) n)

No gradient passes through the noise network or the decoder. The difference of the encodings leaves an estimate that
agrees with y unchanged, although the autoencoder maps no image exactly to itself.
"""

import math
from typing import Any

import torch
from torch import Tensor

from ..distillation import NoiseSource, couple_noise, refresh_noise
from ..priors import Prior
from ..priors.noise_levels import noise_level
from ..repulsion import RepulsiveForce
from .data_step import data_step
from .problem import Problem
from .settings import SolverConfig
from .solver import Solver, root_mean_square
from .variational_solver import Features

SMALLEST_DEVIATION = 1e-4  # of the measurement's noise, so that its inverse is finite


class ProximalSolver(Solver):
    """Particles move along the noise levels of the prior; each estimate is corrected by the measurement.

    Args:
        config: settings.
        problem: measurement and operator.
        prior: diffusion model.
        features: feature network in which the answers to an image repel each other; see `RepulsiveForce`.
    """

    def __init__(self, config: SolverConfig, problem: Problem, prior: Prior, features: Features = "euclidean") -> None:
        super().__init__(config, problem, prior)
        self.timesteps = self.descending_timesteps()
        self.sources = [
            NoiseSource("fresh", coupled=config.noise_coupled, seed=seed, stream="sampling") for seed in self.seeds
        ]
        initial = torch.stack([couple_noise(each) for each in self.z]) if config.noise_coupled else self.z
        self.z = prior.sigma(self.timesteps[0]) * initial  # x_t
        self.images: Tensor | None = None  # corrected images of the last step
        self.force = RepulsiveForce(features, chunk_size=config.chunk_size)

    @torch.no_grad()
    def step(self, step: int) -> dict[str, float]:
        t = self.timesteps[step]
        alpha, sigma = self.prior.alpha(t), self.prior.sigma(t)
        estimate = (self.z - sigma * self.predict_noise(self.z, t)) / alpha
        if self.config.clip_estimate and not self.prior.is_latent:
            estimate = estimate.clamp(-1, 1)
        images = self.decode(estimate)
        residual = self.residual(images)
        level = noise_level(self.prior, t)
        deviation = self.config.number("prior_deviation") * level / math.hypot(1, level)
        corrected_images = self._correct(images, deviation)
        corrected = estimate + self.encode(corrected_images) - self.encode(images)
        self.images = corrected_images
        if step == self.n_steps - 1:
            self.z = corrected
            return {"residual": root_mean_square(residual)}
        memory = self.config.number("correction_memory")
        noise = (self.z - alpha * torch.lerp(corrected, estimate, memory)) / sigma
        following = self.timesteps[step + 1]
        self.z = self.prior.alpha(following) * corrected + self.prior.sigma(following) * self._renew(noise, step, level)
        return {"residual": root_mean_square(residual)}

    @torch.no_grad()
    def reconstructions(self) -> Tensor:
        """Images of the last data step, which agree with y better than what the decoder can show; else D(z).

        Returns:
            (M, N, C, H, W) in [0, 1]
        """
        if self.images is None or not self.prior.is_latent:
            return super().reconstructions()
        return self.images.clamp(0, 1)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | ({} if self.images is None else {"images": self.images})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        images = state.get("images")
        self.images = None if images is None else images.to(self.prior.device)

    def _correct(self, images: Tensor, deviation: float) -> Tensor:
        """Images after the force and the data step.

        The force R tilts the prior of the answers by exp(-gamma U), which shifts the mean of an estimate of variance
        r^2 by -gamma r^2 R.

        Args:
            images: decoded estimates, (M, N, C, H, W).
            deviation: r, standard deviation of the estimate in units of the images.
        """
        if self.config.gamma > 0:
            images = images - self.config.gamma * deviation**2 * self.repulsion(self.force, images)
        return data_step(self.problem, images, (deviation / max(self.problem.deviation, SMALLEST_DEVIATION)) ** 2)

    def _renew(self, noise: Tensor, step: int, level: float) -> Tensor:
        """Noise of the next level: kept, partly renewed or fresh."""
        rate = self.config.refresh_rate(level)
        if rate == 0:
            return noise
        shape, n = tuple(self.prior.latent_shape), self.config.n_particles
        fresh = torch.stack([source(step, n, shape, noise.device) for source in self.sources])
        return refresh_noise(noise, fresh, rate)
