"""`Solver`: base class of the solvers, which hold N particles for each of M images and move them step by step."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..errors import fits_memory
from ..finite import StepCheck, note
from ..particles import particle_noise
from ..priors import Prior
from ..priors.noise_levels import first_sampling_timestep
from ..repulsion import RepulsiveForce
from .problem import Problem
from .settings import SolverConfig

ANSWERS = ("image", "particle")  # leading axes of the particles
INITIAL_Z, INITIAL_X = 0, 1  # step indices of the noise stream `initial`
ROWS_ON_CPU = 40  # particles that pass without gradient at once on a CPU: 95 take twice the time of each
COPIES, FLOAT = 4, 4  # z, its gradient and two moments of Adam; bytes of a number


class Solver:
    """Particles z (M, N, *latent_shape) of a prior, moved by `step` from pure noise to N reconstructions of each image.

    Args:
        config: settings.
        problem: measurement and operator.
        prior: diffusion model.

    Raises:
        UserError: the problem does not fit the prior.
    """

    def __init__(self, config: SolverConfig, problem: Problem, prior: Prior) -> None:
        problem.check(prior)
        self.config, self.problem, self.prior = config, problem, prior
        self.measurement = problem.measurement.to(prior.device)
        self.n_images, self.n_steps = len(self.measurement), config.n_steps
        self.seeds = [_image_seed(config.seed, index) for index in range(self.n_images)]
        values = self.n_images * math.prod(prior.latent_shape)  # of one particle of each image
        fits_memory("n_particles", config.n_particles, config.n_particles * values * COPIES * FLOAT)
        with torch.no_grad():
            self.embedding = prior.embed(config.prompt)
        self.z = config.number("initial_scale") * self.noise("initial", INITIAL_Z, prior.latent_shape)

    def step(self, step: int) -> dict[str, float]:
        """Move all particles by one step.

        Args:
            step: index of the step, 0 <= step < n_steps.

        Returns:
            Values to log, by name; `residual` is the root mean square of y - A(D(z)) before the step, in units of y.
        """
        raise NotImplementedError

    def checked_step(self, step: int) -> tuple[dict[str, float], StepCheck]:
        """Move all particles by one step; returns the values to log, and the check whether all numbers are finite."""
        with StepCheck(step).active() as check:
            values = self.step(step)
            lower = "likelihood_step, lr_z, guidance_scale"
            note("the updated latent", self.z, lower=lower, axes=ANSWERS)
            if (x := self.auxiliary()) is not None:
                note("the updated image", x, lower="lr_x", axes=ANSWERS)
        return values, check

    @torch.no_grad()
    def reconstructions(self) -> Tensor:
        """D(z), (M, N, C, H, W) in [0, 1]."""
        return self._decode(self.z, clamp=True)

    def auxiliary(self) -> Tensor | None:
        """Auxiliary images x, (M, N, C, H, W) in [0, 1]; None if the solver has none."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """State from which `load_state_dict` resumes exactly."""
        return {"z": self.z.detach()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a state."""
        with torch.no_grad():
            self.z.copy_(state["z"])

    def descending_timesteps(self) -> list[int]:
        """Timestep of each step: evenly spaced from the first from which the prior can sample down to 0.

        Raises:
            UserError: see `first_sampling_timestep`.
        """
        return torch.linspace(first_sampling_timestep(self.prior), 0, self.n_steps).round().long().tolist()

    def repulsion(self, force: RepulsiveForce, particles: Tensor) -> Tensor:
        """Repulsion R (M, N, ...) between the particles of each image, zero for those beyond `n_repelled`.

        Args:
            force: repulsion.
            particles: its input, (M, N, ...).
        """
        n = particles.shape[1] if self.config.n_repelled is None else self.config.n_repelled
        repulsion = torch.zeros_like(particles)
        if n > 1:
            repulsion[:, :n] = force(particles[:, :n].flatten(0, 1), len(particles)).unflatten(0, (-1, n))
        return repulsion

    def noise(self, stream: str, step: int, shape: tuple[int, ...]) -> Tensor:
        """Standard normal noise (M, N, *shape).

        The noise of a particle depends only on the seed, the image, the stream, the step and the particle's index.
        """
        n = self.config.n_particles
        return torch.stack([particle_noise(seed, stream, step, n, tuple(shape)) for seed in self.seeds]).to(
            self.prior.device
        )

    def predict_noise(self, z_t: Tensor, t: int) -> Tensor:
        """Guided noise prediction eps_w(z_t), (M, N, ...) -> (M, N, ...), without gradient."""
        parts = [
            self.prior.predict_noise(part, t, self.embedding, self.config.guidance_scale)
            for part in self._chunks(z_t.flatten(0, 1))
        ]
        return torch.cat(parts).view_as(z_t)

    def differentiable_noise(self, z_t: Tensor, t: int) -> Tensor:
        """Guided noise prediction eps_w(z_t), (B, ...) -> (B, ...), differentiable."""
        texts = self.embedding.expand(len(z_t))
        conditional = self.prior.raw_predict(z_t, t, texts.conditional)
        if self.config.guidance_scale == 1:
            return conditional
        unconditional = self.prior.raw_predict(z_t, t, texts.unconditional)
        return unconditional + self.config.guidance_scale * (conditional - unconditional)

    def decode(self, z: Tensor) -> Tensor:
        """D(z), (M, N, ...) -> (M, N, C, H, W), differentiable and not clamped.

        With several chunks the backward pass recomputes each of them (gradient checkpointing), to save memory.
        """
        return self._decode(z, clamp=False)

    def encode(self, images: Tensor) -> Tensor:
        """Particles of images, (M, N, C, H, W) in [0, 1] -> (M, N, ...)."""
        parts = [self.prior.encode(part) for part in self._chunks(images.flatten(0, 1))]
        particles: Tensor = torch.cat(parts).unflatten(0, images.shape[:2])
        return particles

    def data_gradient(self, z: Tensor) -> Tensor:
        """Gradient of |y - A(D(z))|^2 / 2, a sum over the entries of y, with respect to z (M, N, ...)."""
        leaf = z.detach().requires_grad_()
        with torch.enable_grad():
            loss = self.residual(self.decode(leaf)).abs().square().sum() / 2
            (gradient,) = torch.autograd.grad(loss, leaf)
        return gradient

    def residual(self, images: Tensor) -> Tensor:
        """Residual y - A(x) of images x (M, N, C, H, W): (M, N, ...)."""
        return self.measurement[:, None] - self.problem.apply_all(images)

    def _decode(self, z: Tensor, clamp: bool) -> Tensor:
        def decode(part: Tensor) -> Tensor:
            return self.prior.decode(part, clamp=clamp)

        chunks = self._chunks(z.flatten(0, 1))
        if len(chunks) == 1 or not torch.is_grad_enabled():
            images = torch.cat([decode(part) for part in chunks])
        else:
            images = torch.cat([checkpoint(decode, part, use_reentrant=False) for part in chunks])
        return images.reshape(*z.shape[:2], *images.shape[1:])

    def _chunks(self, flat: Tensor) -> tuple[Tensor, ...]:
        # With gradients, chunks would be computed twice.
        most = ROWS_ON_CPU if flat.device.type == "cpu" and not torch.is_grad_enabled() else len(flat)
        chunks: tuple[Tensor, ...] = flat.split(self.config.chunk_size or most)
        return chunks


def root_mean_square(values: Tensor) -> float:
    """Root mean square of all entries."""
    return float(values.detach().square().mean().sqrt())


def _image_seed(seed: int, index: int) -> int:
    return int(np.random.SeedSequence([seed, index]).generate_state(1)[0])
