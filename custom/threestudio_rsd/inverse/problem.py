"""`Problem`: a measurement and the operator that produced it."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError, first_line
from ..priors import Prior


@dataclass
class Problem:
    """y = A(x) + noise (eq. 9) for M images; all particles of an image share its measurement.

    Attributes:
        measurement: y, (M, ...).
        physics: a `deepinv.physics.Physics`, or any object whose `A` is a differentiable map from images (M, C, H, W)
            in [0, 1] to (M, ...).
        deviation: standard deviation of the noise, in units of y; read by `proximal` and `daps`, not by the solvers
            whose data step has a weight of its own.
    """

    measurement: Tensor
    physics: Any
    deviation: float = 0.001  # of Table 1

    def check(self, prior: Prior) -> None:
        """Check that the operator maps the prior's images to the shape of the measurement.

        Args:
            prior: diffusion model.

        Raises:
            UserError: the measurement is empty or not finite, or the operator does not fit it or the prior.
        """
        shape = tuple(self.measurement.shape)
        if len(shape) < 2 or self.measurement.numel() == 0:
            raise UserError(
                f"measurement of shape {shape} is impossible; accepted: (M, ...), one measurement for each image."
            )
        bad = int((~self.measurement.isfinite()).sum())
        if bad:
            raise UserError(f"measurement has {bad} values that are NaN or infinite; accepted: finite numbers.")
        with torch.no_grad():
            images = prior.decode(torch.zeros(shape[0], *prior.latent_shape, device=prior.device))
            try:
                produced = tuple(self.apply(images).shape)
            except RuntimeError as error:
                raise UserError(
                    f"physics {type(self.physics).__name__} does not take the prior's images "
                    f"{tuple(images.shape[1:])} ({first_line(error)}); accepted: an operator for images of that size."
                ) from error
        if produced != shape:
            raise UserError(
                f"physics {type(self.physics).__name__} maps the prior's images {tuple(images.shape[1:])} to "
                f"{produced}, the measurement is {shape}; accepted: an operator for which the two agree."
            )

    def apply(self, images: Tensor) -> Tensor:
        """A(x) without noise, for one image per measurement: (M, C, H, W) -> (M, ...)."""
        measurement: Tensor = self.physics.A(images)
        return measurement

    def apply_all(self, images: Tensor) -> Tensor:
        """A(x) for all particles: (M, N, C, H, W) -> (M, N, ...).

        One call per particle index, because A may differ between images.
        """
        return torch.stack([self.apply(images[:, index]) for index in range(images.shape[1])], dim=1)

    def require_linear(self, name: str, accepted: str) -> None:
        """Check that the operator is linear, as a solver needs.

        Args:
            name: name of the solver.
            accepted: names of the solvers that take any operator, for the message.

        Raises:
            UserError: it is not linear.
        """
        if not self.is_linear:
            raise UserError(
                f"name={name!r} needs a linear operator, {type(self.physics).__name__} is not; accepted: {accepted}."
            )

    @property
    def is_linear(self) -> bool:
        """True if the operator has an adjoint and a proximal map, as deepinv's linear operators have."""
        return hasattr(self.physics, "A_adjoint") and hasattr(self.physics, "prox_l2")
