"""Seconds and peak memory of steps at the sizes of Stable Diffusion and DeepFloyd IF, with random weights."""

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from threestudio_rsd.costs import peak_memory, random_features, random_prior
from threestudio_rsd.costs.model_sizes import random_tiny_decoder
from threestudio_rsd.costs.timing import synchronize
from threestudio_rsd.distillation import SDS, VSD, HeldForce, RepulsiveDistillation, feature_decoder
from threestudio_rsd.inverse.problem import Problem
from threestudio_rsd.inverse.rsd_solver import AugmentedSolver
from threestudio_rsd.inverse.settings import SolverConfig
from threestudio_rsd.repulsion import RepulsiveForce

from .check import Row, Settings

DEFAULTS = Path(__file__).resolve().parents[2] / "configs" / "text2image" / "sds.yaml"
METHODS = ("vsd", "sds", "flow")
COUNTS = (4, 8, 20)
SMALL = 8  # number of particles up to which steps are short and their times scatter
GAMMA = 20.0
# Minutes on an A100 that the paper reports: 500 steps without and with repulsion, and an inverse problem.
PAPER_MINUTES = {"vsd": (8.0, 12.0), "inverse": 15.0}
PRECISIONS = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}


@dataclass(frozen=True)
class Force:
    """Settings of the force; the values here are the paper's.

    Attributes:
        decoder: see `feature_decoder`.
        kernel_input: input of the kernel; the flow takes `clean` always.
        refresh: steps for which a computed force is used.
    """

    decoder: str = "full"
    kernel_input: str = "noisy"
    refresh: int = 1


PAPER = Force()


def default_force() -> Force:
    """Settings of the bundled configs."""
    from omegaconf import OmegaConf

    guidance = OmegaConf.load(DEFAULTS).system.guidance
    return Force(guidance.feature_decoder, guidance.kernel_input, guidance.repulsion_refresh)


def stable_diffusion_rows(settings: Settings) -> Iterator[Row]:
    """SDS, VSD and the flow on Stable Diffusion 2.1 in half precision, at the paper's settings."""
    for name in METHODS:
        for n in _counts(settings):
            yield f"{name}, N = {n}", lambda name=name, n=n: _pair(settings, "sd21", name, n, "fp16")


def default_rows(settings: Settings) -> Iterator[Row]:
    """The same with the force of the bundled configs, also for the flow, whose configs have no force by default."""
    force = default_force()
    facts = {"decoder": force.decoder, "kernel": force.kernel_input, "refresh": force.refresh}
    for name in METHODS:
        for n in _counts(settings):
            yield (
                f"{name}, N = {n}",
                lambda name=name, n=n: _pair(settings, "sd21", name, n, "fp16", force) | facts,
            )


def precision_rows(settings: Settings) -> Iterator[Row]:
    """The other precisions, and Stable Diffusion 1.5."""
    for precision in ("bf16", "fp32"):
        for name in ("vsd", "sds"):
            yield f"{name}, {precision}", lambda name=name, p=precision: _pair(settings, "sd21", name, 4, p)
    yield "sds, Stable Diffusion 1.5, fp16", lambda: _pair(settings, "sd15", "sds", 4, "fp16")


def deep_floyd_rows(settings: Settings) -> Iterator[Row]:
    """SDS on DeepFloyd IF in half precision."""
    for n in (4, 20):
        yield f"sds, N = {n}", lambda n=n: _pair(settings, "if", "sds", n, "fp16")


def option_rows(settings: Settings) -> Iterator[Row]:
    """Options of the force, and the memory format, on SDS with N = 8."""
    for kind in ("full", "resized", "linear", "tiny"):
        yield f"decoder {kind}", lambda kind=kind: _option(settings, kind)
    yield "channels last", lambda: _option(settings, "full", prepare=_channels_last)


def compile_rows(settings: Settings) -> Iterator[Row]:
    """Compiled U-Net on SDS with N = 8; the compilation takes a minute or more."""
    yield "compiled U-Net", lambda: _option(settings, "full", prepare=_compiled)


def inverse_rows(settings: Settings) -> Iterator[Row]:
    """Steps of the augmented solver on Stable Diffusion 1.5, N = 4."""
    for gamma, kind in ((0.0, "clean"), (50.0, "clean"), (50.0, "noisy")):
        yield f"gamma {gamma:g}, {kind} kernel", lambda gamma=gamma, kind=kind: _inverse(settings, gamma, kind)


def _counts(settings: Settings) -> tuple[int, ...]:
    return COUNTS[:1] if settings.tiny else COUNTS


def _prior(settings: Settings, model: str, precision: str) -> Any:
    dtype = torch.float32 if settings.device == "cpu" else PRECISIONS[precision]
    return random_prior("tiny" if settings.tiny else model, settings.device, dtype)


def _features(settings: Settings) -> Any:
    return random_features("tiny" if settings.tiny else "sd21", settings.device)


def _pair(settings: Settings, model: str, name: str, n: int, precision: str, chosen: Force = PAPER) -> dict[str, Any]:
    """A step without and with repulsion; that with repulsion is a mean over steps that compute the force or not."""
    kernel_input, refresh = chosen.kernel_input, chosen.refresh
    prior, features = _prior(settings, model, precision), _features(settings)
    method = VSD(prior, network="unet") if name == "vsd" else SDS(prior)
    values: dict[str, Any] = {}
    for label, gamma in (("base", 0.0), ("repulsion", GAMMA)):
        force = RepulsiveForce(features, decode=feature_decoder(chosen.decoder, prior, features)) if gamma else None
        distillation = RepulsiveDistillation(
            method, force, kernel_input if name != "flow" else "clean", "exact" if name == "flow" else "sds"
        )
        measured = _measure(step_of(distillation, n, gamma, refresh), _repetitions(n, refresh), refresh)
        values |= {f"{label}_{key}": value for key, value in measured.items()}
    values["ratio"] = values["repulsion_seconds"] / values["base_seconds"]
    values["minutes_500"] = values["repulsion_seconds"] * 500 / 60
    if name in PAPER_MINUTES and n == 4:
        values["paper_minutes_500"] = "{} and {}".format(*PAPER_MINUTES[name])
    return values


def _option(settings: Settings, kind: str, prepare: Callable[[Any], None] | None = None) -> dict[str, Any]:
    prior, features = _prior(settings, "sd21", "fp16"), _features(settings)
    if prepare is not None:
        prepare(prior)
    decode = feature_decoder(kind, prior, features) if kind != "tiny" else _tiny(settings, prior)
    distillation = RepulsiveDistillation(SDS(prior), RepulsiveForce(features, decode=decode))
    return _measure(step_of(distillation, 4 if settings.tiny else 8, GAMMA))


def _tiny(settings: Settings, prior: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    network = random_tiny_decoder("tiny" if settings.tiny else "sd21", settings.device).to(prior.dtype)
    return lambda latents: network(latents.to(prior.dtype)).float() / 2 + 0.5


def _channels_last(prior: Any) -> None:
    prior.to(memory_format=torch.channels_last)


def _compiled(prior: Any) -> None:
    if prior.device.type == "cuda":
        prior.unet = torch.compile(prior.unet)


def _repetitions(n: int, refresh: int) -> int:
    """Number of steps to time: more of short ones, and as many with a new force as a run has."""
    if refresh > 1:
        return refresh * (2 if n <= SMALL else 1)
    return 5 if n <= SMALL else 3


def step_of(distillation: RepulsiveDistillation, n: int, gamma: float, refresh: int = 1) -> Callable[[], None]:
    """A step of the particles with Adam, and of VSD's own network; the force is computed every `refresh` steps."""
    method = distillation.method
    prior, own = method.prior, list(method.parameters())
    embedding = prior.embed("")
    x = torch.randn(n, *prior.latent_shape, device=prior.device)
    noise = torch.randn_like(x)
    timesteps = torch.full((n,), 500, device=prior.device)
    adam = torch.optim.Adam([x, *own], 0.03, betas=(0.9, 0.99))
    held, numbers = HeldForce(refresh), itertools.count()

    def step() -> None:
        number = next(numbers)
        if isinstance(method, VSD):
            method.loss(x, timesteps, noise, embedding).backward()
        result = distillation(x, 500, noise, embedding, gamma, t_next=480, force=held.at(number, x.device))
        held.update(number, result.force)
        x.grad = result.gradient
        adam.step()
        adam.zero_grad()  # here, so that the peak memory of a step counts the gradients

    return step


def _inverse(settings: Settings, gamma: float, kind: str) -> dict[str, Any]:
    prior, features = _prior(settings, "sd15", "fp32"), _features(settings)
    with torch.no_grad():
        shape = prior.decode(torch.zeros(1, *prior.latent_shape, device=prior.device)).shape
    config = SolverConfig(n_particles=4, gamma=gamma, kernel_input=kind)
    solver = AugmentedSolver(config, Problem(torch.zeros(shape, device=prior.device), HalfBox()), prior, features)
    steps = iter(range(1000))
    values = _measure(lambda: solver.step(next(steps)))
    return {**values, "minutes_1000": values["seconds"] * 1000 / 60, "paper_minutes": PAPER_MINUTES["inverse"]}


class HalfBox:
    """Operator that hides the lower half of an image."""

    def A(self, images: torch.Tensor) -> torch.Tensor:  # noqa: N802 deepinv's name
        mask = torch.ones_like(images)
        mask[..., images.shape[-2] // 2 :, :] = 0
        return images * mask


def _measure(step: Callable[[], object], repetitions: int = 3, cycle: int = 1) -> dict[str, Any]:
    """Mean seconds of steps after one that warms up, and the peak memory of `cycle` further ones, in GiB."""
    step()
    synchronize()
    started = time.perf_counter()
    for _ in range(repetitions):
        step()
    synchronize()
    seconds = (time.perf_counter() - started) / repetitions
    return {"seconds": seconds, "gib": peak_memory(lambda: [step() for _ in range(cycle)]) / 2**30}
