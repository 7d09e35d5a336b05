"""N answers to an inverse problem in one call."""

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

LATENT, PIXEL = ("latent-reddiff", "psld"), ("reddiff", "dps")  # the rest takes both kinds of prior


@dataclass
class Solution:
    """M images, N answers each, all on the CPU.

    Attributes:
        reconstructions: D(z), (M, N, C, H, W) in [0, 1].
        auxiliary: x of the augmented solver, like the reconstructions; else None.
        latents: z, (M, N, *latent_shape).
        history: what each step returned, by name: lists of `n_steps` numbers.
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
    """Solver of a config.

    Args:
        config: settings.
        problem: measurement and operator.
        prior: diffusion model.
        features: network in which particles repel each other; a name is loaded where gamma > 0 only.

    Raises:
        UserError: a prior, an operator or features that the solver cannot use.
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
    """Restore images from a measurement (section 5).

    Args:
        measurement: y, (M, ...), one for each image.
        physics: a `deepinv.physics.Physics`, or anything with a differentiable `A`, on images in [0, 1].
        prior: diffusion model.
        n_particles: N answers to each measurement.
        gamma: repulsion weight.
        features: network in which particles repel each other.
        progress: whether to show a bar.
        callback: called after each step with its index and the solver.
        settings: the further fields of `SolverConfig`, such as name="psld" or n_steps=300.

    Raises:
        UserError: an unknown setting or an impossible value, or a problem that does not fit the prior.
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
            values = solver.step(step)
            for name, value in values.items():
                history.setdefault(name, []).append(value)
            bar.set_postfix({name: f"{value:.3g}" for name, value in values.items()})
            if callback is not None:
                callback(step, solver)
    auxiliary = solver.auxiliary()
    return Solution(
        solver.reconstructions().cpu(), None if auxiliary is None else auxiliary.cpu(), solver.z.detach().cpu(), history
    )
