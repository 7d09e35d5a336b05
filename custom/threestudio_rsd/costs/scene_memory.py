"""Peak memory and time of a text-to-3D step, with few and with many NeRFs."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from ..files import data_path
from ..host import find, get_device, load_config
from ..runs.launching import register_modules
from .memory import peak_memory
from .timing import interleaved_seconds, median_ratio

CONFIG = "configs/text2nerf/dreamfusion-bundled.yaml"
CHUNK = 4  # particles in a chunk


@dataclass(frozen=True)
class SceneRow:
    """Peak memory of a 3D step above parameters, gradients and optimizer, and its time.

    Attributes:
        name: how the particles are rendered.
        small: peak with few particles, bytes.
        large: peak with many particles, bytes.
        seconds_ratio: time with few particles over that of rendering them at once.
    """

    name: str
    small: int
    large: int
    seconds_ratio: float


def scene_memory(few: int, many: int, size: int, rounds: int) -> list[SceneRow]:
    """Memory and time of steps whose graphs hold all particles, or CHUNK of them at once.

    Args:
        few: small number of particles.
        many: large number of particles.
        size: height and width of the renders, pixels.
        rounds: rounds that are timed, of 2 CHUNK particles.
    """
    register_modules()
    warnings.filterwarnings("ignore", "You are trying to `self.log", category=UserWarning)  # there is no trainer
    options = {"all at once": "null", f"chunks of {CHUNK}": str(CHUNK)}
    timed = {name: _step(2 * CHUNK, size, chunk) for name, chunk in options.items()}
    seconds = interleaved_seconds(timed, rounds)
    return [
        SceneRow(
            name,
            small=_peak(_step(few, size, chunk)),
            large=_peak(_step(many, size, chunk)),
            seconds_ratio=median_ratio(seconds[name], seconds["all at once"]),
        )
        for name, chunk in options.items()
    ]


def _peak(step: Callable[[], object]) -> int:
    step()  # the gradients are then allocated
    return peak_memory(step)


def _step(n_particles: int, size: int, chunk: str) -> Callable[[], None]:
    """Function that renders, computes the losses and differentiates them."""
    torch.manual_seed(0)
    settings = {
        "system.geometry.n_particles": n_particles,
        "system.render_chunk_size": chunk,
        "data.batch_size": n_particles,
        "data.width": size,
        "data.height": size,
    }
    cfg = load_config(str(data_path(CONFIG)), cli_args=[f"{key}={value}" for key, value in settings.items()])
    data = find(cfg.data_type)(cfg.data)
    data.setup("fit")
    system: Any = find(cfg.system_type)(cfg.system).to(get_device())
    system.make_guidance()
    system.do_update_step(0, 0)
    batch = {name: _on_device(value) for name, value in next(iter(data.train_dataloader())).items()}

    def run() -> None:
        system.training_step(batch, 0)["loss"].backward()
        for parameter in system.parameters():
            if parameter.grad is not None:
                parameter.grad.zero_()

    return run


def _on_device(value: Any) -> Any:
    return value.to(get_device()) if torch.is_tensor(value) else value
