"""`solve`: N reconstructions of each measurement in one call, and `make_solver`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from ..errors import UserError
from ..priors import Prior
from ..repulsion import load_features
from .posterior_sampling import LatentPosteriorSampler, PosteriorSampler
from .problem import Problem
from .proximal_solver import ProximalSolver
from .red_diff_solver import RedDiffSolver
from .rivals import DecoupledAnnealingSolver, ResampleSolver
from .rsd_solver import AugmentedSolver
from .settings import SolverConfig
from .solver import Solver
from .variational_solver import Features

# Solvers that need a latent or a pixel-space prior, and those that take both.
LATENT, PIXEL, BOTH = ("latent-reddiff", "psld", "resample"), ("reddiff", "dps"), ("rsd", "proximal", "daps")

# Solvers of independent particles, which take no feature network.
INDEPENDENT: dict[str, type[Solver]] = {
    "psld": LatentPosteriorSampler,
    "dps": PosteriorSampler,
    "daps": DecoupledAnnealingSolver,
    "resample": ResampleSolver,
}


@dataclass
class Solution:
    """Reconstructions of M images, N of each, all on the CPU.

    Attributes:
        reconstructions: D(z), (M, N, C, H, W) in [0, 1].
        auxiliary: x of the augmented solver, shaped like the reconstructions; None for the other solvers.
        latents: z, (M, N, *latent_shape).
        history: values that the steps returned, by name, each a list of `n_steps` numbers.
        mean: pixel-wise mean of the reconstructions of each image, (M, C, H, W).
        standard_deviation: pixel-wise standard deviation of the reconstructions, with N - 1 in the denominator,
            (M, C, H, W); 0 for one particle.
    """

    reconstructions: Tensor
    auxiliary: Tensor | None
    latents: Tensor
    history: dict[str, list[float]]

    @property
    def mean(self) -> Tensor:
        """Pixel-wise mean of the reconstructions: of posterior samples, the estimate of least squared error."""
        return self.reconstructions.mean(1)

    @property
    def standard_deviation(self) -> Tensor:
        """Pixel-wise standard deviation of the reconstructions."""
        n = self.reconstructions.shape[1]
        return self.reconstructions.std(1) if n > 1 else torch.zeros_like(self.mean)


def make_solver(
    config: SolverConfig,
    problem: Problem,
    prior: Prior,
    features: Features = "dino",
) -> Solver:
    """Build the solver that a config names.

    Args:
        config: settings.
        problem: measurement and operator.
        prior: diffusion model.
        features: feature network of the repulsion, a name or a callable; loaded only if gamma > 0.

    Raises:
        UserError: the solver does not support the prior, the operator or the features.
    """
    name = config.name
    if name in LATENT and not prior.is_latent:
        raise UserError(f"name={name!r} needs a prior with a decoder; accepted here: {', '.join(BOTH + PIXEL)}.")
    if name in PIXEL and prior.is_latent:
        raise UserError(f"name={name!r} needs a prior in pixel space; accepted here: {', '.join(BOTH + LATENT)}.")
    if name in INDEPENDENT:
        return INDEPENDENT[name](config, problem, prior)
    network = load_features(features, prior.is_bundled, prior.device) if config.gamma > 0 else "euclidean"
    kinds: dict[str, type[AugmentedSolver | ProximalSolver]] = {"rsd": AugmentedSolver, "proximal": ProximalSolver}
    return kinds.get(name, RedDiffSolver)(config, problem, prior, network)


def solve(
    measurement: Tensor,
    physics: Any,
    prior: Prior,
    n_particles: int = 4,
    gamma: float = 0.0,
    features: Features = "dino",
    measurement_deviation: float = 0.001,
    progress: bool = True,
    callback: Callable[[int, Solver], object] | None = None,
    **settings: Any,
) -> Solution:
    """Restore images from measurements (section 5).

    Args:
        measurement: y, (M, ...), one measurement for each image.
        physics: a `deepinv.physics.Physics`, or any object with a differentiable `A` for images in [0, 1].
        prior: diffusion model.
        n_particles: number N of reconstructions of each image.
        gamma: repulsion weight.
        features: feature network of the repulsion, a name or a callable.
        measurement_deviation: standard deviation of the noise of y, in units of y.
        progress: show a progress bar.
        callback: called after each step with its index and the solver.
        **settings: further fields of `SolverConfig`, such as name="psld" or n_steps=300.

    Raises:
        UserError: an unknown setting, an impossible value, or a problem that does not fit the prior.
        NonFiniteError: a number of a step is NaN or infinite.

    Example:
        >>> import torch
        >>> from threestudio_rsd.priors import GaussianMixturePrior
        >>> class FirstValue:  # measures the first of two values
        ...     def A(self, x):
        ...         return x[:, :1]
        >>> means = torch.tensor([[0.5, 0.1], [0.5, 0.9]])  # two answers that share the measured value
        >>> prior = GaussianMixturePrior(means, torch.full((2,), 0.003), torch.full((2,), 0.5))
        >>> y = torch.tensor([[0.5]])
        >>> solution = solve(y, FirstValue(), prior, n_particles=3, n_steps=20, progress=False)
        >>> solution.reconstructions.shape
        torch.Size([1, 3, 2])
    """
    unknown = settings.keys() - SolverConfig.__dataclass_fields__.keys()
    if unknown:
        raise UserError(
            f"{', '.join(sorted(unknown))}: no such setting; accepted: {', '.join(SolverConfig.__dataclass_fields__)}."
        )
    config = SolverConfig(n_particles=n_particles, gamma=gamma, **settings)
    solver = make_solver(config, Problem(measurement, physics, measurement_deviation), prior, features)
    history: dict[str, list[float]] = {}
    with tqdm(range(solver.n_steps), desc="Solving", disable=not progress, leave=False) as bar:
        for step in bar:
            values, check = solver.checked_step(step)
            check.stop()
            for name, value in values.items():
                history.setdefault(name, []).append(value)
            bar.set_postfix({name: f"{value:.3g}" for name, value in values.items()})
            if callback is not None:
                callback(step, solver)
    auxiliary = solver.auxiliary()
    return Solution(
        reconstructions=solver.reconstructions().cpu(),
        auxiliary=None if auxiliary is None else auxiliary.cpu(),
        latents=solver.z.detach().cpu(),
        history=history,
    )
