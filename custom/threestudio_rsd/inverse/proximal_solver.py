"""Sampling with a proximal data step on the denoised estimate, in pixel space or through the encoder of a latent prior.

The loop of DiffPIR (Zhu et al., 2023, arXiv 2305.08995), with the decoupled annealing of DAPS (Zhang et al., 2025,
arXiv 2407.01521) as the case of fresh noise, and the probability-flow ODE as that of fixed noise. For each noise level
lambda = sigma / alpha, from high to low:

    x_0   = D(x_t), the prior's estimate; decoded to an image u
    u_y   = argmin |y - A(u')|^2 / (2 sigma_y^2) + |u' - u|^2 / (2 r^2),     r = s lambda / sqrt(1 + lambda^2)
    x_0|y = x_0 + a J^T c,     c = E(u_y) - E(u),     J = d x_0 / d (x_t / alpha),     a = |c|^2 / <c, J^T c>
    eps   = (x_t - alpha (k x_0 + (1 - k) x_0|y)) / sigma
    x_t'  = alpha' x_0|y + sigma' (sqrt(1 - g) eps + sqrt(g) n)

J is the covariance of x_0 given x_t over lambda^2, so that the correction also moves the parts of the image that y does
not show, as pseudoinverse guidance does (Song et al., 2023, ICLR). Outside of `jacobian_interval`, x_0|y = x_0 + c. No
gradient passes through the decoder. The difference of the encodings leaves an estimate that agrees with y unchanged,
although the autoencoder maps no image exactly to itself.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..distillation import NoiseSource, couple_noise, refresh_noise
from ..priors import Prior
from ..priors.noise_levels import noise_level
from ..repulsion import RepulsiveForce
from .data_step import data_step
from .problem import Problem
from .settings import SolverConfig
from .solver import Solver, root_mean_square
from .variational_solver import Features

TINY = 1e-12
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
        level = noise_level(self.prior, t)
        levels = self.config.jacobian_levels
        has_graph = levels is not None and levels.contains(level)
        particles = self.z.detach().requires_grad_(has_graph)
        predicted = self._estimate(particles, t, has_graph)
        estimate = predicted.detach()
        if self.config.clip_estimate and not self.prior.is_latent:
            estimate = estimate.clamp(-1, 1)
        images = self.decode(estimate)
        residual = self.residual(images)
        deviation = self.config.number("prior_deviation") * level / math.hypot(1, level)
        corrected_images = self._correct(images, deviation)
        correction = self.encode(corrected_images) - self.encode(images)
        alpha, sigma = self.prior.alpha(t), self.prior.sigma(t)
        if has_graph:
            (pulled,) = torch.autograd.grad(predicted, particles, correction)
            correction = _matched(alpha * pulled, correction, 1 + level**2)
        corrected = estimate + correction
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

    def _estimate(self, particles: Tensor, t: int, has_graph: bool) -> Tensor:
        """Estimates D(x_t) of particles (M, N, ...), with a graph or without; chunks of `chunk_size` make it twice."""
        alpha, sigma = self.prior.alpha(t), self.prior.sigma(t)
        if not has_graph:
            return (particles - sigma * self.predict_noise(particles, t)) / alpha

        def estimate(part: Tensor) -> Tensor:
            return (part - sigma * self.differentiable_noise(part, t)) / alpha

        rows = [len(chunk) for chunk in self._chunks(particles.flatten(0, 1))]  # as many as are fastest
        with torch.enable_grad():
            chunks = particles.flatten(0, 1).split(rows)
            if self.config.chunk_size is None or len(chunks) == 1:
                parts = [estimate(part) for part in chunks]
            else:
                parts = [checkpoint(estimate, part, use_reentrant=False) for part in chunks]
            return torch.cat(parts).view_as(particles)

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


def _matched(pulled: Tensor, correction: Tensor, most: float) -> Tensor:
    """J^T c of each particle, (M, N, ...), scaled so that its part along c is c itself.

    Args:
        pulled: J^T c.
        correction: c.
        most: largest scale, that of a prior with variance 1; smaller variances would need more, and the network's
            Jacobian is least exact there.
    """
    squared = correction.square().flatten(2).sum(2)
    along = (correction * pulled).flatten(2).sum(2)
    scale = (squared / along.clamp_min(TINY)).clamp_max(most)
    matched: Tensor = scale.reshape(*scale.shape, *[1] * (pulled.ndim - 2)) * pulled
    return matched
