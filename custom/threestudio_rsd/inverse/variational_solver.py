"""Base class of the variational solvers: score-matching regularizer with repulsion (eq. 15, repelling sign).

Each descends a data term plus lambda_t (eps(z_t) - noise + gamma sigma_t R), lambda_t = lambda sigma_t / alpha_t.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..distillation import TimestepSchedule, select_kernel_input
from ..finite import note
from ..priors import Prior
from ..repulsion import RepulsiveForce
from .problem import Problem
from .settings import SolverConfig
from .solver import ANSWERS, Solver

Features = str | nn.Module | Callable[[Tensor], Tensor]  # see RepulsiveForce
BETAS = (0.9, 0.99)  # D.2


class VariationalSolver(Solver):
    """Optimizes z by Adam with descending t.

    Args:
        config: settings.
        problem: measurement and operator.
        prior: diffusion model.
        features: feature network in which the particles of an image repel each other; see `RepulsiveForce`.
    """

    def __init__(
        self,
        config: SolverConfig,
        problem: Problem,
        prior: Prior,
        features: Features = "euclidean",
    ) -> None:
        super().__init__(config, problem, prior)
        self.z.requires_grad_()
        self.timesteps = TimestepSchedule("descending", config.n_steps)
        self.adam_z = torch.optim.Adam([self.z], config.number("lr_z"), betas=BETAS)
        decodes = config.kernel_input != "clean"  # the clean kernel acts on images that are already decoded
        decode = (lambda z: prior.decode(z, clamp=False)) if decodes else None
        self.force = RepulsiveForce(features, decode=decode, chunk_size=config.chunk_size)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"adam_z": self.adam_z.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.adam_z.load_state_dict(state["adam_z"])

    def gradient(self, step: int, images: Tensor, image_gradient: Tensor, weight: float) -> Tensor:
        """Gradient of data term and regularizer with respect to z, (M, N, ...).

        Args:
            step: index of the step, from which t and the noise follow.
            images: D(z) (M, N, C, H, W) with its graph; one backward pass carries both terms to z.
            image_gradient: gradient of the data term with respect to the images.
            weight: lambda, by which sigma_t / alpha_t times the mean over the entries of z is multiplied.
        """
        prior, config = self.prior, self.config
        t = self.timesteps(step, 0, prior.last_timestep)
        alpha, sigma = prior.alpha(t), prior.sigma(t)
        noise = self.noise("noise", step, prior.latent_shape)
        z = self.z.detach()
        z_t = alpha * z + sigma * noise
        predicted = self.predict_noise(z_t, t)
        note("the decoded image", images, t=t, lower="lr_z", axes=ANSWERS)
        note("the noise prediction", predicted, t=t, lower="guidance_scale", axes=ANSWERS)
        direction = predicted - noise
        weight_t = weight * sigma / alpha / z[0, 0].numel()
        if config.gamma > 0:
            strength = config.gamma * sigma
            seen = select_kernel_input(config.kernel_input, images.detach(), z_t, predicted, alpha, sigma)
            force = self.repulsion(self.force, seen)
            if config.kernel_input == "clean":  # the force acts on the images, and the backward pass takes it to z
                image_gradient = image_gradient + weight_t * strength * force
            else:
                direction = direction + strength * force
        (data,) = torch.autograd.grad(images, self.z, image_gradient)
        note("the gradient of the data term", data, t=t, lower="coupling, lr_z", axes=ANSWERS)
        note("the direction with repulsion", direction, t=t, lower="gamma", axes=ANSWERS)
        return data + weight_t * direction
