"""Floating-point operations of a step at the sizes of published models, counted on the meta device."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..distillation import SDS, VSD, Method, RepulsiveDistillation, feature_decoder
from ..errors import UserError
from ..priors import Prior
from ..repulsion import RepulsiveForce
from .model_sizes import random_features, random_linear_decoder, random_prior, random_tiny_decoder

N = 2  # particles; the count for each particle does not depend on it
T = 500  # timestep; neither on this
HELD = (("exact", 8), ("resized", 8))  # decoders, and steps for which their force is used


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
    """Floating-point operations of a call for each of N particles; a multiplication and an addition are two.

    Raises:
        UserError: PyTorch is older than 2.1.
    """
    try:
        from torch.utils.flop_counter import FlopCounterMode
    except ModuleNotFoundError as error:
        raise UserError(f"counting operations needs PyTorch 2.1, this is {torch.__version__}.") from error
    with FlopCounterMode(display=False) as counter:
        function()
    return float(counter.get_total_flops()) / N


def count_flops(text_to_image: str = "sd21", inverse: str = "sd15") -> list[FlopRow]:
    """Operations of steps of SDS, VSD and the augmented inverse solver, with and without repulsion.

    Args:
        text_to_image: model of the first two, see `random_prior`.
        inverse: model of the inverse solver.
    """
    prior, features = random_prior(text_to_image), random_features(text_to_image)
    forces = force_flops(prior, features, text_to_image)
    bases = {"sds": method_flops(SDS(prior)), "vsd": method_flops(VSD(prior))}
    rows = [FlopRow(name, base, {key: base + value for key, value in forces.items()}) for name, base in bases.items()]
    return [*rows, inverse_row(inverse)]


def force_flops(prior: Prior, features: Any, model: str) -> dict[str, float]:
    """Operations of the force by its options, for each particle."""
    full, resized = (feature_decoder(kind, prior, features) for kind in ("full", "resized"))
    forces = {
        "exact": RepulsiveForce(features, decode=full),
        "exact, in chunks": RepulsiveForce(features, decode=full, chunk_size=1),
        "resized": RepulsiveForce(features, decode=resized),
        "tiny": RepulsiveForce(features, decode=_not_from_leaf(random_tiny_decoder(model))),
        "linear": RepulsiveForce(features, decode=_not_from_leaf(random_linear_decoder())),
    }
    counts = {label: count(partial(force, _particles(prior))) for label, force in forces.items()}
    return counts | {f"{label}, every {refresh} steps": counts[label] / refresh for label, refresh in HELD}


def method_flops(method: Method) -> float:
    """Operations of a step without force for each particle; with VSD including one of its own network."""
    prior = method.prior
    x, embedding = _particles(prior), prior.embed("")
    timesteps = torch.zeros(N, dtype=torch.long, device=prior.device)

    def step() -> None:
        RepulsiveDistillation(method)(x, T, x, embedding)
        if isinstance(method, VSD):
            method.loss(x, timesteps, x, embedding).backward()

    return count(step)


def inverse_row(model: str) -> FlopRow:
    """Operations of the networks in a step of the augmented solver, by the input of its kernel.

    A step decodes once, with a backward pass, and predicts the noise once. The clean kernel acts on the decoded images.
    """
    prior, features = random_prior(model), random_features(model)
    z = _particles(prior).requires_grad_()

    def step() -> None:
        prior.predict_noise(z.detach(), T, prior.embed(""), guidance_scale=1.0)
        images = prior.decode(z, clamp=False)
        torch.autograd.grad(images, z, torch.zeros_like(images))

    base = count(step)
    with torch.no_grad():
        images = prior.decode(z, clamp=False)
    clean = count(lambda: RepulsiveForce(_not_from_leaf(features))(images))
    noisy = count(lambda: RepulsiveForce(features, decode=feature_decoder("full", prior))(z.detach()))
    return FlopRow("inverse", base, {"clean": base + clean, "noisy": base + noisy})


def _particles(prior: Prior) -> Tensor:
    return torch.zeros(N, *prior.latent_shape, device=prior.device)


def _not_from_leaf(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Function whose input is no leaf of the graph: FlopCounterMode cannot count modules that differentiate leaves."""
    return lambda x: function(x.view_as(x))
