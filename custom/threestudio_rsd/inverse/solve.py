"""`solve`: N reconstructions of each measurement in one call, and `make_solver`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from tqdm import tqdm

from ..errors import UserError
from ..priors import Prior
from ..repulsion import load_features
from .posterior_sampling import LatentPosteriorSampler, PosteriorSampler
from .problem import Problem
from .red_diff_solver import RedDiffSolver
from .rsd_solver import AugmentedSolver
from .settings import SolverConfig
from .solver import Solver
from .variational_solver import Features

# Solvers that need a latent or a pixel-space prior; `rsd` takes both.
LATENT, PIXEL = ("latent-reddiff", "psld"), ("reddiff", "dps")


@dataclass
class Solution:
    """Reconstructions of M images, N of each, all on the CPU.

    Attributes:
        reconstructions: D(z), (M, N, C, H, W) in [0, 1].
        auxiliary: x of the augmented solver, shaped like the reconstructions; None for the other solvers.
        latents: z, (M, N, *latent_shape).
        history: values that the steps returned, by name, each a list of `n_steps` numbers.
    """

    reconstructions: Tensor
    auxiliary: Tensor | None
    latents: Tensor
    history: dict[str, list[float]]


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
        raise UserError(f"name={name!r} needs a prior with a decoder; accepted here: rsd, {', '.join(PIXEL)}.")
    if name in PIXEL and prior.is_latent:
        raise UserError(f"name={name!r} needs a prior in pixel space; accepted here: rsd, {', '.join(LATENT)}.")
    if name == "psld":
        return LatentPosteriorSampler(config, problem, prior)
    if name == "dps":
        return PosteriorSampler(config, problem, prior)
    network = load_features(features, prior.is_bundled, prior.device) if config.gamma > 0 else "euclidean"
    return (AugmentedSolver if name == "rsd" else RedDiffSolver)(config, problem, prior, network)


def solve(
    measurement: Tensor,
    physics: Any,
    prior: Prior,
    n_particles: int = 4,
    gamma: float = 0.0,
    features: Features = "dino",
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
    solver = make_solver(config, Problem(measurement, physics), prior, features)
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
