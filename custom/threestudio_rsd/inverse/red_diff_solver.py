"""RED-diff (Mardani et al., 2023), with repulsion: on z alone, in a latent space (D.3) or in that of pixels.

Per particle: |y - f(D(z))|^2 / 2 + lambda sigma_t / alpha_t sg[eps(z_t) - noise + gamma sigma_t R] . z, as means over
the entries of y and of z, images in units of [-1, 1].
"""

import torch

from .solver import root_mean_square
from .variational_solver import VariationalSolver


class RedDiffSolver(VariationalSolver):
    """The non-augmented solver. See `VariationalSolver`."""

    def step(self, step: int) -> dict[str, float]:
        images = self.decode(self.z)
        leaf = images.detach().requires_grad_()
        residual = 2 * self.residual(leaf)
        loss = residual.square().flatten(2).mean(2).sum() / 2
        (image_gradient,) = torch.autograd.grad(loss, leaf)
        self.z.grad = self.gradient(step, images, image_gradient, self.config.number("regularization"))
        self.adam_z.step()
        return {"residual": root_mean_square(residual / 2)}
