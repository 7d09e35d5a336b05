"""Floating-point operations of a step at the sizes of published models, counted on the meta device."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ..distillation import SDS, VSD, Method, RepulsiveDistillation, feature_decoder
from ..priors import Prior
from ..repulsion import RepulsiveForce
from .model_sizes import random_features, random_linear_decoder, random_prior, random_tiny_decoder

N = 2  # particles; the count for each particle does not depend on it
T = 500  # timestep; neither on this
GAMMA = 20.0
HELD = (("exact", 8), ("resized", 4), ("linear", 2))  # decoders, and steps for which their force is used


@dataclass(frozen=True)
class FlopRow:
    """Operations of a step for each particle.

    Attributes:
        name: method or solver.
        without: operations without repulsion.
        options: operations with repulsion, by the name of its options.
    """

    name: str
    without: float
    options: dict[str, float]


def count(function: Callable[[], object]) -> float:
    """Floating-point operations of a call for each of N particles; a multiplication and an addition are two."""
    with FlopCounterMode(display=False) as counter:
        function()
    return float(counter.get_total_flops()) / N


def count_flops(text_to_image: str = "sd21", inverse: str = "sd15") -> list[FlopRow]:
    """Operations of steps of SDS, VSD and the augmented inverse solver, with and without repulsion.

    Args:
        text_to_image: model of the first two, see `random_prior`.
        inverse: model of the inverse solver.
    """
    return [_method_row("sds", SDS, text_to_image), _method_row("vsd", VSD, text_to_image), inverse_row(inverse)]


def _forces(prior: Prior, features: Any, model: str) -> dict[str, RepulsiveForce]:
    """Forces by decoder, and the exact one in chunks."""
    full, resized = (feature_decoder(kind, prior, features) for kind in ("full", "resized"))
    return {
        "exact": RepulsiveForce(features, decode=full),
        "exact, in chunks": RepulsiveForce(features, decode=full, chunk_size=1),
        "resized": RepulsiveForce(features, decode=resized),
        "tiny": RepulsiveForce(features, decode=_not_from_leaf(random_tiny_decoder(model))),
        "linear": RepulsiveForce(features, decode=_not_from_leaf(random_linear_decoder())),
    }


def _not_from_leaf(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Function whose input is no leaf of the graph: FlopCounterMode cannot count modules that differentiate leaves."""
    return lambda x: function(x.view_as(x))


def _method_row(name: str, method_class: type[Method], model: str) -> FlopRow:
    prior, features = random_prior(model), random_features(model)
    method = method_class(prior)

    def step(force: RepulsiveForce | None) -> Callable[[], None]:
        return lambda: distillation_step(RepulsiveDistillation(method, force), prior)

    without = count(step(None))
    options = {label: count(step(force)) for label, force in _forces(prior, features, model).items()}
    for label, refresh in HELD:
        options[f"{label}, every {refresh} steps"] = without + (options[label] - without) / refresh
    return FlopRow(name, without, options)


def distillation_step(distillation: RepulsiveDistillation, prior: Prior) -> None:
    """One step of the particles, and with VSD one of its own network."""
    x = torch.zeros(N, *prior.latent_shape, device=prior.device)
    embedding, noise = prior.embed(""), torch.zeros_like(x)
    distillation(x, T, noise, embedding, GAMMA)
    if isinstance(distillation.method, VSD):
        timesteps = torch.zeros(N, dtype=torch.long, device=prior.device)
        distillation.method.loss(x, timesteps, noise, embedding).backward()


def inverse_row(model: str) -> FlopRow:
    """Operations of the networks in a step of the augmented solver, by the input of its kernel."""
    prior, features = random_prior(model), random_features(model)
    options = {kind: count(lambda kind=kind: _inverse_step(prior, features, kind)) for kind in ("clean", "noisy")}
    return FlopRow("inverse", count(lambda: _inverse_step(prior, features, None)), options)


def _inverse_step(prior: Prior, features: Any, kernel_input: str | None) -> None:
    """Networks of a z-step: one decode with its backward pass, one noise prediction, and the force."""
    z = torch.zeros(N, *prior.latent_shape, device=prior.device, requires_grad=True)
    images = prior.decode(z, clamp=False)
    prior.predict_noise(z.detach(), T, prior.embed(""), guidance_scale=1.0)
    gradient: Tensor = torch.zeros_like(images)
    if kernel_input == "clean":
        gradient = gradient + RepulsiveForce(_not_from_leaf(features))(images.detach())
    elif kernel_input == "noisy":
        RepulsiveForce(features, decode=feature_decoder("full", prior))(z.detach())
    torch.autograd.grad(images, z, gradient)
