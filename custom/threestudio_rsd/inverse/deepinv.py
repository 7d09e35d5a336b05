"""The solvers as models of deepinv: `model(y, physics)`."""

from typing import Any

import torch
from torch import Tensor

from ..errors import UserError, one_of, require
from ..priors import Prior, load_prior
from .solve import Solution, solve
from .variational_solver import Features

require("deepinv", "inverse")

from deepinv.models import Reconstructor  # noqa: E402 after the check, which names the extra to install

ESTIMATES = ("mean", "sample")


class PosteriorReconstructor(Reconstructor):  # type: ignore[misc]  # deepinv has no types
    """N answers to each measurement by one of the solvers, as a `deepinv.models.Reconstructor`.

    The call returns one image for each measurement, for deepinv's metrics and `deepinv.test`; `sample` returns mean and
    variance, as deepinv's samplers do; `solve` returns all answers.

    Args:
        prior: diffusion model, or its name for `load_prior`.
        estimate: image that the call returns: `mean` of the answers, or `sample`, the first answer.
        features: feature network of the repulsion.
        **settings: fields of `SolverConfig`, and arguments of `solve` such as n_particles and gamma.

    Raises:
        UserError: an unknown estimate, or a prior that cannot be loaded.

    Example:
        >>> import deepinv
        >>> physics = deepinv.physics.Inpainting((3, 64, 64), mask=0.5)
        >>> model = PosteriorReconstructor("bundled", name="proximal", n_particles=2, n_steps=2)
        >>> model(physics(torch.rand(1, 3, 64, 64)), physics).shape
        torch.Size([1, 3, 64, 64])
    """

    def __init__(
        self, prior: Prior | str = "bundled", estimate: str = "mean", features: Features = "dino", **settings: Any
    ) -> None:
        one_of("estimate", estimate, ESTIMATES)
        super().__init__()
        self.prior = load_prior(prior) if isinstance(prior, str) else prior
        self.estimate = estimate
        self.features = features
        self.settings = {"name": "proximal", "progress": False, **settings}

    def forward(self, y: Tensor, physics: Any, seed: int | None = None, **kwargs: Any) -> Tensor:
        """Restored images, (M, C, H, W).

        Args:
            y: measurements, (M, ...).
            physics: forward operator for images in [0, 1]; the standard deviation of its Gaussian noise is read.
            seed: seed of particles and noise; None: that of the settings.
            **kwargs: further settings of this call.
        """
        solution = self.solve(y, physics, seed, **kwargs)
        return (solution.mean if self.estimate == "mean" else solution.reconstructions[:, 0]).to(y.device)

    def sample(self, y: Tensor, physics: Any, seed: int | None = None, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Pixel-wise mean and variance of the answers, each (M, C, H, W), as of `deepinv.sampling.BaseSampling.sample`.

        Args:
            y: see `forward`.
            physics: see `forward`.
            seed: see `forward`.
            **kwargs: see `forward`.
        """
        solution = self.solve(y, physics, seed, **kwargs)
        return solution.mean.to(y.device), solution.standard_deviation.square().to(y.device)

    @torch.no_grad()
    def solve(self, y: Tensor, physics: Any, seed: int | None = None, **kwargs: Any) -> Solution:
        """All answers.

        Args:
            y: see `forward`.
            physics: see `forward`.
            seed: see `forward`.
            **kwargs: see `forward`.
        """
        settings = {"measurement_deviation": _noise_deviation(physics), **self.settings, **kwargs}
        settings = {key: value for key, value in settings.items() if value is not None}
        if seed is not None:
            settings["seed"] = seed
        return solve(y, physics, self.prior, features=self.features, **settings)


def _noise_deviation(physics: Any) -> float | None:
    """Standard deviation of the operator's Gaussian noise; None where it states none.

    Raises:
        UserError: it differs between the measurements.
    """
    sigma = getattr(getattr(physics, "noise_model", None), "sigma", None)
    if sigma is None:
        return None
    values = torch.as_tensor(sigma).unique()
    if len(values) > 1:
        raise UserError(f"noise_model.sigma={values.tolist()} is impossible; accepted: one for all measurements.")
    return float(values)
