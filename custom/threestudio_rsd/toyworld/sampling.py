"""Many samples and renders of the bundled world, computed in several processes.

Samples come from plain diffusers pipelines.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError, first_line
from ..process_map import process_map
from ..quiet import quiet_models
from .render import render_scenes
from .world import Scene, sample_scenes

STEPS = 50  # sampling steps of the models' own schedulers: DDIM, DDPM for pixels, Euler for the flow
SAMPLES_PER_JOB = 16
RENDERS_PER_JOB = 125
MODELS = {  # folder: class of diffusers
    "text-to-image": "StableDiffusionPipeline",
    "pixel": "IFPipeline",
    "flow": "StableDiffusion3Pipeline",
}


@dataclass(frozen=True)
class Request:
    """Samples to draw: one for each prompt, each with its own random number generator."""

    prompts: tuple[str, ...]
    guidance_scale: float
    seed: int  # seed of the first sample; each further sample adds 1
    model: str = "text-to-image"  # one of MODELS


def draw_samples(requests: Mapping[str, Request], folder: Path, workers: int, steps: int = STEPS) -> dict[str, Tensor]:
    """Sample images (N, 3, 64, 64) in [0, 1] for each request; they do not depend on the number of workers.

    Args:
        requests: samples to draw, by name.
        folder: folder of the bundled world, which holds the folders of the models.
        workers: number of processes.
        steps: number of sampling steps.

    Raises:
        UserError: a model cannot be loaded.
    """
    for model in {request.model for request in requests.values()}:
        _load_pipeline(folder / model)  # so that a model that cannot be loaded is reported from this process
    jobs, owners = [], []
    for name, request in requests.items():
        for start in range(0, len(request.prompts), SAMPLES_PER_JOB):
            part = request.prompts[start : start + SAMPLES_PER_JOB]
            jobs.append((folder, replace(request, prompts=part, seed=request.seed + start), steps))
            owners.append(name)
    sizes = [len(request.prompts) for _, request, _ in jobs]
    parts = process_map(_sample, jobs, workers, description="sampling", unit="image", sizes=sizes)
    return {
        name: torch.from_numpy(
            np.concatenate([part for part, owner in zip(parts, owners, strict=True) if owner == name])
        )
        for name in requests
    }


def draw_renders(n: int, seed: int, workers: int) -> tuple[Tensor, Scene]:
    """Render random scenes.

    Args:
        n: number of scenes.
        seed: seed of the scenes.
        workers: number of processes.

    Returns:
        Images (n, 3, 64, 64) in [0, 1], and their scenes.
    """
    scenes = sample_scenes(n, torch.Generator().manual_seed(seed))
    jobs = [scenes.select(slice(start, start + RENDERS_PER_JOB)) for start in range(0, n, RENDERS_PER_JOB)]
    sizes = [len(job) for job in jobs]
    parts = process_map(_render, jobs, workers, description="rendering", unit="image", sizes=sizes)
    return torch.from_numpy(np.concatenate(parts)), scenes


def _render(scenes: Scene) -> np.ndarray:
    return render_scenes(scenes).numpy()


@torch.no_grad()
def _sample(job: tuple[Path, Request, int]) -> np.ndarray:
    folder, request, steps = job
    pipeline = _load_pipeline(folder / request.model)
    arguments: dict[str, Any] = {}
    if request.model == "pixel":
        arguments["clean_caption"] = False  # needs packages of its own
    if request.model == "flow":
        arguments["max_sequence_length"] = pipeline.tokenizer_3.model_max_length  # not the default of 256
    images = pipeline(
        prompt=list(request.prompts),
        guidance_scale=request.guidance_scale,
        num_inference_steps=steps,
        generator=[torch.Generator().manual_seed(request.seed + i) for i in range(len(request.prompts))],
        output_type="np",  # images (N, 64, 64, 3) in [0, 1] from all kinds of pipeline
        **arguments,
    ).images
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


@lru_cache(maxsize=len(MODELS))
def _load_pipeline(folder: Path) -> Any:
    import diffusers

    diffusers.utils.logging.disable_progress_bar()  # while loading
    try:
        with quiet_models():
            pipeline = getattr(diffusers, MODELS[folder.name]).from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{str(folder)!r} cannot be loaded ({first_line(error)}); accepted: the folder of a diffusers pipeline."
        ) from error
    pipeline.set_progress_bar_config(disable=True)
    for name, part in pipeline.components.items():
        if name.startswith("text_encoder"):
            part.float()  # current transformers load it in half precision
    if hasattr(pipeline, "unet"):
        pipeline.unet.to(memory_format=torch.channels_last)
    return pipeline
