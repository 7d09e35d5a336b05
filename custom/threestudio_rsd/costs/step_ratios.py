"""Time of a step with and without repulsion, and peak memory of the force, on the bundled prior."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..distillation import NFSD, SDS, VSD, Method, RepulsiveDistillation, feature_decoder
from ..particles import particle_noise
from ..priors import load_prior
from ..repulsion import RepulsiveForce, load_features
from .memory import peak_memory
from .timing import interleaved_seconds, median_ratio

GAMMA = 20.0
T = 500  # timestep


@dataclass(frozen=True)
class TimeRow:
    """Time of a step of a base method.

    Attributes:
        name: method.
        seconds: median seconds of a step without repulsion.
        ratios: time with repulsion over time without, by the name of the options.
    """

    name: str
    seconds: float
    ratios: dict[str, float]


@dataclass(frozen=True)
class MemoryRow:
    """Peak memory and time of the force.

    Attributes:
        name: options of the force.
        small: peak with few particles, bytes.
        large: peak with many particles, bytes.
        seconds_ratio: time with many particles over that of all of them at once.
    """

    name: str
    small: int
    large: int
    seconds_ratio: float


DECODERS = ("full", "linear")
OPTIONS = {  # label: decoder, and steps for which a computed force is used
    "exact": ("full", 1),
    "exact, every 4 steps": ("full", 4),
    "exact, every 8 steps": ("full", 8),
    "linear": ("linear", 1),
    "linear, every 2 steps": ("linear", 2),
    "linear, every 4 steps": ("linear", 4),
}


def step_times(n_particles: int, rounds: int) -> list[TimeRow]:
    """Times of steps of SDS, VSD, NFSD and the flow on the bundled prior.

    Steps that compute a force and steps that use it again are timed apart; the ratio of a force that is computed every
    k steps is (k - 1) / k of the one and 1 / k of the other.

    Args:
        n_particles: N.
        rounds: rounds that are timed.
    """
    rows = []
    for name in ("sds", "vsd", "nfsd", "flow"):
        prior = load_prior("bundled")  # one for each method: VSD changes it
        features = load_features("dino", bundled=True)
        method = {"vsd": VSD, "nfsd": NFSD}.get(name, SDS)(prior)
        particles = torch.randn(n_particles, *prior.latent_shape, generator=torch.Generator().manual_seed(0))
        is_flow = name == "flow"
        forces = {kind: RepulsiveForce(features, decode=feature_decoder(kind, prior, features)) for kind in DECODERS}
        functions = {"none": _step(method, None, particles, is_flow)}
        functions |= {kind: _step(method, force, particles, is_flow) for kind, force in forces.items()}
        functions["held"] = _step(method, forces["full"], particles, is_flow, held=torch.zeros_like(particles))
        seconds = interleaved_seconds(functions, rounds)
        ratio = {label: median_ratio(times, seconds["none"]) for label, times in seconds.items()}
        ratios = {
            label: (ratio[kind] + (refresh - 1) * ratio["held"]) / refresh for label, (kind, refresh) in OPTIONS.items()
        }
        rows.append(TimeRow(name, statistics.median(seconds["none"]), ratios))
    return rows


def _step(
    method: Method, force: RepulsiveForce | None, particles: Tensor, is_flow: bool, held: Tensor | None = None
) -> Callable[[], None]:
    """Function that takes a step, of the particles and with VSD of its network; with the force `held`, if given."""
    distillation = RepulsiveDistillation(method, force, "clean", "exact" if is_flow else "sds")
    embedding = method.prior.embed("a mushroom", "a car")
    timesteps = torch.full((len(particles),), T)

    def run() -> None:
        noise = particle_noise(0, "noise", 0, len(particles), tuple(particles.shape[1:]))
        distillation(particles, T, noise, embedding, GAMMA, t_next=T - 20, force=held)
        if isinstance(method, VSD):
            method.loss(particles, timesteps, noise, embedding).backward()

    return run


def force_memory(few: int, many: int, rounds: int) -> list[MemoryRow]:
    """Peak memory of the force for few and many particles of the bundled prior, by decoder and chunk size.

    Args:
        few: small number of particles.
        many: large number of particles.
        rounds: rounds that are timed, for many particles.
    """
    prior, features = load_prior("bundled"), load_features("dino", bundled=True)
    x: Tensor = torch.randn(many, *prior.latent_shape, generator=torch.Generator().manual_seed(0))
    rows = []
    for decoder in ("full", "linear"):
        decode = feature_decoder(decoder, prior, features)
        sizes: dict[str, Any] = {"all at once": many, "default": None}
        forces = {name: RepulsiveForce(features, decode=decode, chunk_size=size) for name, size in sizes.items()}
        seconds = interleaved_seconds({name: _call(force, x) for name, force in forces.items()}, rounds)
        for name, force in forces.items():
            ratio = median_ratio(seconds[name], seconds["all at once"])
            small, large = (peak_memory(_call(force, x[:count])) for count in (few, many))
            rows.append(MemoryRow(f"{decoder}, {name}", small, large, ratio))
    return rows


def _call(force: RepulsiveForce, x: Tensor) -> Callable[[], Tensor]:
    return lambda: force(x)
