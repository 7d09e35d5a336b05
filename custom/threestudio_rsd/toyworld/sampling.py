"""Samples and renders of the bundled world in bulk: plain diffusers pipelines, spread over processes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError, first_line
from ..process_map import map_jobs
from ..quiet import quiet_transformers
from .render import render_scenes
from .world import Scene, sample_scenes

STEPS = 50  # of the models' own schedulers: DDIM in latents, DDPM in pixels
SAMPLES_PER_JOB = 16
RENDERS_PER_JOB = 125
MODELS = {"text-to-image": "StableDiffusionPipeline", "pixel": "IFPipeline"}  # folder: diffusers' class


@dataclass(frozen=True)
class Request:
    """Samples to be drawn: one for each prompt, each with a random number generator of its own."""

    prompts: tuple[str, ...]
    guidance_scale: float
    seed: int  # of the first sample; each further one adds 1
    model: str = "text-to-image"  # or pixel


def draw_samples(requests: Mapping[str, Request], folder: Path, workers: int, steps: int = STEPS) -> dict[str, Tensor]:
    """Images (N, 3, 64, 64) in [0, 1] for each request, whatever the number of workers.

    Args:
        requests: by name.
        folder: of the bundled world, with the models' folders in it.
        workers: processes.
        steps: of the sampler.

    Raises:
        UserError: a model that cannot be loaded.
    """
    for model in {request.model for request in requests.values()}:
        _load_pipeline(folder / model)  # here first: a worker's error would have no sentence
    jobs, owners = [], []
    for name, request in requests.items():
        for start in range(0, len(request.prompts), SAMPLES_PER_JOB):
            part = request.prompts[start : start + SAMPLES_PER_JOB]
            jobs.append((folder, replace(request, prompts=part, seed=request.seed + start), steps))
            owners.append(name)
    sizes = [len(request.prompts) for _, request, _ in jobs]
    parts = map_jobs(_sample, jobs, sizes, workers, "sampling")
    return {
        name: torch.from_numpy(
            np.concatenate([part for part, owner in zip(parts, owners, strict=True) if owner == name])
        )
        for name in requests
    }


def draw_renders(n: int, seed: int, workers: int) -> tuple[Tensor, Scene]:
    """Images (n, 3, 64, 64) in [0, 1] of random scenes, and the scenes."""
    scenes = sample_scenes(n, torch.Generator().manual_seed(seed))
    jobs = [scenes.select(slice(start, start + RENDERS_PER_JOB)) for start in range(0, n, RENDERS_PER_JOB)]
    parts = map_jobs(_render, jobs, [len(job) for job in jobs], workers, "rendering")
    return torch.from_numpy(np.concatenate(parts)), scenes


def _render(scenes: Scene) -> np.ndarray:
    return render_scenes(scenes).numpy()


@torch.no_grad()
def _sample(job: tuple[Path, Request, int]) -> np.ndarray:
    folder, request, steps = job
    arguments: dict[str, Any] = {"clean_caption": False} if request.model == "pixel" else {}
    images = _load_pipeline(folder / request.model)(
        prompt=list(request.prompts),
        guidance_scale=request.guidance_scale,
        num_inference_steps=steps,
        generator=[torch.Generator().manual_seed(request.seed + i) for i in range(len(request.prompts))],
        output_type="np",  # images (N, 64, 64, 3) in [0, 1], of both kinds of pipeline
        **arguments,
    ).images
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


@lru_cache(maxsize=len(MODELS))
def _load_pipeline(folder: Path) -> Any:
    import diffusers

    diffusers.utils.logging.disable_progress_bar()  # of the loading
    try:
        with quiet_transformers():
            pipeline = getattr(diffusers, MODELS[folder.name]).from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{str(folder)!r} cannot be loaded ({first_line(error)}); accepted: the folder of a diffusers pipeline."
        ) from error
    pipeline.set_progress_bar_config(disable=True)
    pipeline.text_encoder.float()  # current transformers keep half precision, where diffusers do not
    pipeline.unet.to(memory_format=torch.channels_last)
    return pipeline
