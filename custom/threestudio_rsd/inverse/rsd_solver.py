"""RSD for inverse problems: augmented latent solver by half-quadratic splitting (Alg. 2, Prop. 2).

Losses of a particle, with means over the entries of y, of an image and of z, images in units of [-1, 1]:

    z-step: |x - D(z)|^2 / 2 + lambda / (1 / rho^2) sigma_t / alpha_t sg[eps(z_t) - noise + gamma sigma_t R] . z
    x-step: |y - f(x)|^2 / 2 + (1 / rho^2) |x - D(z)|^2 / 2
"""

from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from ..priors import Prior
from .problem import Problem
from .settings import SolverConfig
from .solver import INITIAL_X, root_mean_square
from .variational_solver import BETAS, Features, VariationalSolver


class AugmentedSolver(VariationalSolver):
    """Alg. 2; arguments as in `VariationalSolver`.

    It decodes once per step: the D(z) of a z-step also serves the x-step before it.
    """

    def __init__(
        self,
        config: SolverConfig,
        problem: Problem,
        prior: Prior,
        features: Features = "euclidean",
    ) -> None:
        super().__init__(config, problem, prior, features)
        if config.x_step == "closed-form" and not problem.is_linear:
            raise UserError(
                f"x_step='closed-form' is impossible: {type(problem.physics).__name__} is not linear; accepted: adam."
            )
        with torch.no_grad():
            image_shape = prior.decode(self.z[:1, 0]).shape[1:]
        self.x = self.noise("initial", INITIAL_X, tuple(image_shape)).requires_grad_()  # in units of [-1, 1]
        self.adam_x = torch.optim.Adam([self.x], config.number("lr_x"), betas=BETAS)

    def step(self, step: int) -> dict[str, float]:
        images = self.decode(self.z)
        if step > 0:
            self._x_step(images.detach())
        gap = 2 * images.detach() - 1 - self.x.detach()
        per_image = 2 / gap[0, 0].numel()  # gradient of a mean over the pixels, with 2 D(z) - 1 in [-1, 1]
        weight = self.config.number("regularization") / self.config.number("coupling")
        self.z.grad = self.gradient(step, images, per_image * gap, weight)
        self.adam_z.step()
        residual = self.residual(images.detach())
        if step == self.n_steps - 1:
            with torch.no_grad():
                self._x_step(self.decode(self.z))
        return {"residual": root_mean_square(residual), "coupling": root_mean_square(gap)}

    def auxiliary(self) -> Tensor:
        return (self.x.detach() / 2 + 0.5).clamp(0, 1)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"x": self.x.detach(), "adam_x": self.adam_x.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        with torch.no_grad():
            self.x.copy_(state["x"])
        self.adam_x.load_state_dict(state["adam_x"])

    def _x_step(self, images: Tensor) -> None:
        """Move x towards the measurement and towards D(z), given as images (M, N, C, H, W)."""
        if self.config.x_step == "closed-form":
            with torch.no_grad():
                self.x.copy_(2 * self._closest(images) - 1)
            return
        with torch.enable_grad():
            residual = 2 * self.residual(self.x / 2 + 0.5)  # in units of [-1, 1]
            loss = residual.square().flatten(2).mean(2).sum() / 2
            (gradient,) = torch.autograd.grad(loss, self.x)
        gap = self.x.detach() - (2 * images - 1)
        self.x.grad = gradient + self.config.number("coupling") / gap[0, 0].numel() * gap
        self.adam_x.step()

    def _closest(self, images: Tensor) -> Tensor:
        """Exact minimum of the x-step: deepinv's proximal map of gamma |y - A(x)|^2 / 2 at D(z)."""
        y = self.measurement
        gamma = images[0, 0].numel() / y[0].numel() / self.config.number("coupling")
        parts = [self.problem.physics.prox_l2(part, y, gamma) for part in images.unbind(1)]
        return torch.stack(parts, dim=1)
