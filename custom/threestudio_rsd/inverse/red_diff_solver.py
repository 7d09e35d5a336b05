"""RED-diff (Mardani et al., 2023) with repulsion: optimizes z alone, in latent space (D.3) or in pixel space.

Loss of a particle, with means over the entries of y and of z, images in units of [-1, 1]:

    |y - f(D(z))|^2 / 2 + lambda sigma_t / alpha_t sg[eps(z_t) - noise + gamma sigma_t R] . z
"""

import torch

from .solver import root_mean_square
from .variational_solver import VariationalSolver


class RedDiffSolver(VariationalSolver):
    """RED-diff, the solver without an auxiliary image x; arguments as in `VariationalSolver`."""

    def step(self, step: int) -> dict[str, float]:
        images = self.decode(self.z)
        leaf = images.detach().requires_grad_()
        residual = 2 * self.residual(leaf)
        loss = residual.square().flatten(2).mean(2).sum() / 2
        (image_gradient,) = torch.autograd.grad(loss, leaf)
        self.z.grad = self.gradient(step, images, image_gradient, self.config.number("regularization"))
        self.adam_z.step()
        return {"residual": root_mean_square(residual / 2)}
