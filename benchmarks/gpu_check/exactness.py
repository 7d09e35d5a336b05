"""Equality of what this package computes on the device and on the CPU, and of its fast and plain paths."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from threestudio_rsd.distillation import NFSD, SDS, VSD, Method, RepulsiveDistillation, feature_decoder
from threestudio_rsd.particles import particle_noise
from threestudio_rsd.priors import Prior, load_prior
from threestudio_rsd.repulsion import RepulsiveForce, load_features
from threestudio_rsd.repulsion.chunks import graph_bytes

from .check import Row, Settings, set_tf32, tf32

N = 3
TOLERANCE = 1e-3  # relative, in single precision with TF32 off


def rows(settings: Settings) -> Iterator[Row]:
    """Rows of force, methods and chunk size, without TF32; a row is measured before the next one is asked for."""
    former = tf32()
    set_tf32(dict.fromkeys(former, False))
    try:
        yield from full_precision_rows(settings)
    finally:
        set_tf32(former)  # the other sections measure what a user gets


def full_precision_rows(settings: Settings) -> Iterator[Row]:
    """Rows to be measured without TF32."""
    device = settings.device
    yield "force in float64: chunked and whole", lambda: chunked_force(device)
    if settings.tiny:
        yield "SDS with repulsion: device and CPU", lambda: _compared(gradient(SDS, device), gradient(SDS, "cpu"))
        return
    yield "force: default chunks and whole", lambda: default_chunks(device)
    for kind in ("full", "linear"):
        yield (
            f"force, {kind} decoder: device and CPU",
            lambda kind=kind: _compared(*(force(d, kind) for d in (device, "cpu"))),
        )
    for name, method in {"SDS": SDS, "NFSD": NFSD, "VSD": VSD}.items():
        yield (
            f"{name} with repulsion: device and CPU",
            lambda method=method: _compared(*(gradient(method, place) for place in (device, "cpu"))),
        )
    yield "VSD's own network learns", lambda: vsd_learns(device)
    methods = {"SDS": SDS, "NFSD": NFSD, "VSD": VSD, "VSD with a U-Net": partial(VSD, network="unet")}
    for name, make in methods.items():
        yield f"a step of {name} waits for the device", lambda make=make: synchronizations(make, device)


def chunked_force(device: str) -> dict[str, Any]:
    """Chunks and a single batch agree to rounding."""
    network = torch.nn.Sequential(torch.nn.Linear(12, 32), torch.nn.Tanh(), torch.nn.Linear(32, 8)).double().to(device)
    x = torch.randn(20, 12, dtype=torch.float64, device=device)
    return _compared(RepulsiveForce(network, chunk_size=3)(x), RepulsiveForce(network, chunk_size=20)(x), 1e-12)


def default_chunks(device: str) -> dict[str, Any]:
    """The chunk size that is chosen, the memory of a particle's graph, and the equality with one batch."""
    prior, features = load_prior("bundled", device=device), load_features("dino", bundled=True, device=device)
    decode = feature_decoder("full", prior)
    x = torch.randn(10, *prior.latent_shape, device=device)
    default, whole = RepulsiveForce(features, decode=decode), RepulsiveForce(features, decode=decode, chunk_size=10)
    values = _compared(default(x), whole(x))
    megabytes = graph_bytes(lambda part: features(decode(part)), x[:1]) / 2**20
    return {**values, "chunk": next(iter(default._chosen.values())), "graph_mib": megabytes}


def force(device: str, kind: str) -> torch.Tensor:
    prior, features = load_prior("bundled", device=device), load_features("dino", bundled=True, device=device)
    x = particle_noise(0, "initial", 0, N, tuple(prior.latent_shape), device)
    return RepulsiveForce(features, decode=feature_decoder(kind, prior, features))(x)


def gradient(method: type[Method], device: str) -> torch.Tensor:
    """Gradient of one step; eps_phi of VSD is at its initial weights, which are the prior's."""
    prior, features = load_prior("bundled", device=device), load_features("dino", bundled=True, device=device)
    distillation = RepulsiveDistillation(
        method(prior), RepulsiveForce(features, decode=feature_decoder("full", prior)), "clean"
    )
    shape = tuple(prior.latent_shape)
    x, noise = (particle_noise(0, stream, 0, N, shape, device) for stream in ("initial", "noise"))
    return distillation(x, 500, noise, prior.embed("a mushroom", "a car"), gamma=20.0).gradient


def vsd_learns(device: str) -> dict[str, Any]:
    """Loss of eps_phi before and after some steps of Adam on one batch."""
    prior = load_prior("bundled", device=device)
    method, shape = VSD(prior), tuple(prior.latent_shape)
    x, noise = (particle_noise(0, stream, 0, N, shape, device) for stream in ("initial", "vsd_noise"))
    t, embedding = torch.full((N,), 500, device=device), prior.embed("a mushroom")
    adam = torch.optim.Adam(method.lora.parameters(), 1e-2)
    losses = []
    for _ in range(4):
        loss = method.loss(x, t, noise, embedding)
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    return {"before": losses[0], "after": losses[-1], "ok": losses[-1] < losses[0]}


def synchronizations(make: Callable[[Prior], Method], device: str) -> dict[str, Any]:
    """Warnings of PyTorch about operations that wait for the GPU, within one step with repulsion.

    Args:
        make: makes the base method from a prior.
        device: device of the step.
    """
    if not device.startswith("cuda"):
        return {"skipped": "not on a GPU"}
    import warnings

    prior, features = load_prior("bundled", device=device), load_features("dino", bundled=True, device=device)
    distillation = RepulsiveDistillation(make(prior), RepulsiveForce(features, decode=feature_decoder("full", prior)))
    embedding = prior.embed("a mushroom")
    x, noise = torch.randn(2, N, *prior.latent_shape, device=device)
    distillation(x, 500, noise, embedding, gamma=20.0)
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            distillation(x, 500, noise, embedding, gamma=20.0)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    places = [f"{warning.filename.rsplit('/', 1)[-1]}:{warning.lineno}" for warning in caught]
    return {"count": len(places), "where": " ".join(sorted(set(places))), "ok": not places}


def _compared(ours: torch.Tensor, reference: torch.Tensor, tolerance: float = TOLERANCE) -> dict[str, Any]:
    ours, reference = ours.cpu().double(), reference.cpu().double()
    error = float((ours - reference).norm() / reference.norm())
    if not error <= tolerance:
        raise AssertionError(f"relative difference {error:.2g} above {tolerance:.0e}")
    return {"relative_difference": error, "ok": True}
