"""What the solvers have in common: M images, N particles each, moved one step at a time."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..particles import particle_noise
from ..priors import Prior
from .problem import Problem
from .settings import SolverConfig

INITIAL_Z, INITIAL_X = 0, 1  # steps of the stream `initial`


class Solver:
    """Particles z (M, N, *latent_shape) of a prior, which `step` moves from pure noise to N answers for each image.

    Args:
        config: settings.
        problem: measurement and operator.
        prior: diffusion model.

    Raises:
        UserError: a problem that does not fit the prior.
    """

    def __init__(self, config: SolverConfig, problem: Problem, prior: Prior) -> None:
        problem.check(prior)
        self.config, self.problem, self.prior = config, problem, prior
        self.measurement = problem.measurement.to(prior.device)
        self.n_images, self.n_steps = len(self.measurement), config.n_steps
        self.seeds = [_image_seed(config.seed, index) for index in range(self.n_images)]
        with torch.no_grad():
            self.embedding = prior.embed(config.prompt)
        self.z = config.number("initial_scale") * self.noise("initial", INITIAL_Z, prior.latent_shape)

    def step(self, step: int) -> dict[str, float]:
        """Move all particles by one step, 0 <= step < n_steps; returns what is worth a line in a log.

        `residual` is the root mean square of y - A(D(z)) before the step, in units of y.
        """
        raise NotImplementedError

    @torch.no_grad()
    def reconstructions(self) -> Tensor:
        """D(z), (M, N, C, H, W) in [0, 1]."""
        return self._decode(self.z, clamp=True)

    def auxiliary(self) -> Tensor | None:
        """x, (M, N, C, H, W) in [0, 1]; None where the solver has none."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """Tensors from which `load_state_dict` goes on to the bit."""
        return {"z": self.z.detach()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        with torch.no_grad():
            self.z.copy_(state["z"])

    def noise(self, stream: str, step: int, shape: tuple[int, ...]) -> Tensor:
        """Standard normal (M, N, *shape), which for one particle depends on nothing but seed, image, step and index."""
        n = self.config.n_particles
        return torch.stack([particle_noise(seed, stream, step, n, tuple(shape)) for seed in self.seeds]).to(
            self.prior.device
        )

    def predict_noise(self, z_t: Tensor, t: int) -> Tensor:
        """eps_w(z_t), (M, N, ...) -> (M, N, ...), without gradient."""
        parts = [
            self.prior.predict_noise(part, t, self.embedding, self.config.guidance_scale)
            for part in self._chunks(z_t.flatten(0, 1))
        ]
        return torch.cat(parts).view_as(z_t)

    def decode(self, z: Tensor) -> Tensor:
        """D(z), (M, N, ...) -> (M, N, C, H, W), differentiable and not clamped; in chunks, computed anew for it."""
        return self._decode(z, clamp=False)

    def residual(self, images: Tensor) -> Tensor:
        """Y - A(x) for images (M, N, C, H, W): (M, N, ...)."""
        return self.measurement[:, None] - self.problem.apply_all(images)

    def _decode(self, z: Tensor, clamp: bool) -> Tensor:
        def decode(part: Tensor) -> Tensor:
            return self.prior.decode(part, clamp=clamp)

        chunks = self._chunks(z.flatten(0, 1))
        if len(chunks) == 1 or not torch.is_grad_enabled():
            images = torch.cat([decode(part) for part in chunks])
        else:
            images = torch.cat([checkpoint(decode, part, use_reentrant=False) for part in chunks])
        return images.unflatten(0, z.shape[:2])

    def _chunks(self, flat: Tensor) -> tuple[Tensor, ...]:
        return flat.split(self.config.chunk_size or len(flat))


def root_mean_square(values: Tensor) -> float:
    """Of all entries."""
    return float(values.detach().square().mean().sqrt())


def _image_seed(seed: int, index: int) -> int:
    return int(np.random.SeedSequence([seed, index]).generate_state(1)[0])
