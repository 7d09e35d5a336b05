"""What is to be solved: a measurement and the operator that made it."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError, first_line
from ..priors import Prior


@dataclass
class Problem:
    """y = A(x) + noise (eq. 9) for M images; the particles of an image share its measurement.

    Attributes:
        measurement: y, (M, ...).
        physics: a `deepinv.physics.Physics`, or anything whose `A` maps images (M, C, H, W) in [0, 1] to (M, ...),
            differentiable.
    """

    measurement: Tensor
    physics: Any

    def check(self, prior: Prior) -> None:
        """Whether the operator maps the prior's images to something like the measurement.

        Raises:
            UserError: a measurement that is empty or not finite, or an operator that does not fit it or the prior.
        """
        shape = tuple(self.measurement.shape)
        if len(shape) < 2 or self.measurement.numel() == 0:
            raise UserError(f"measurement of shape {shape} is impossible; accepted: (M, ...), one for each image.")
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
        """A(x) without noise: one image for each measurement, (M, C, H, W) -> (M, ...)."""
        return self.physics.A(images)

    def apply_all(self, images: Tensor) -> Tensor:
        """A(x) for all particles: (M, N, C, H, W) -> (M, N, ...). One call per particle, as A may differ by image."""
        return torch.stack([self.apply(images[:, index]) for index in range(images.shape[1])], dim=1)

    @property
    def is_linear(self) -> bool:
        """Whether the operator offers its adjoint and its proximal map, as deepinv's linear ones do."""
        return hasattr(self.physics, "A_adjoint") and hasattr(self.physics, "prox_l2")
