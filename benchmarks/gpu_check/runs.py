"""Runs of `rsd launch` on the device: against the CPU, resumed, in mixed precision; and steps of 3D scenes."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from .check import Row, Settings

ROOT = Path(__file__).resolve().parents[2]
COMMON = ("use_timestamp=false", "tag=t", "trainer.enable_progress_bar=false", "system.metrics_every=0")
PARTICLES = "save/test/particles.safetensors"


def run_rows(settings: Settings) -> Iterator[Row]:
    """Bundled configs on the device and on the CPU, a resumed run, and a run in mixed precision."""
    for name in ("text2image-sds", "text2image-flow", "text2image-vsd"):
        yield f"{name}: device and CPU", lambda name=name: on_both(settings, name)
    yield "resumed and uninterrupted", lambda: resumed(settings)
    yield "text2nerf in 16-mixed", lambda: mixed_precision(settings)


def launch(settings: Settings, config: str, folder: str, *overrides: str, cpu: bool = False) -> tuple[Path, float]:
    """Train with a config in a process of its own; its trial folder, and the seconds it took.

    A test that fails after the training, such as a film without ffmpeg, is no error here.
    """
    kind, name = config.split("-", 1)
    output = settings.scratch / folder
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "RSD_HOST": "embedded"}
    if cpu or settings.device == "cpu":
        environment["RSD_DEVICE"] = "cpu"
    command = [sys.executable, "-m", "threestudio_rsd.cli", "launch", "--config", f"configs/{kind}/{name}.yaml"]
    command += ["--train", f"exp_root_dir={output}", "name=run", *COMMON, *overrides]
    started = time.perf_counter()
    limit = max(settings.left, 30)
    result = subprocess.run(
        command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=limit
    )
    if result.returncode and not (output / "run" / "t" / "ckpts" / "last.ckpt").is_file():
        raise RuntimeError((result.stderr.strip().splitlines() or ["no message"])[-1])
    return output / "run" / "t", time.perf_counter() - started


def particles(trial: Path) -> torch.Tensor:
    from safetensors.torch import load_file

    return load_file(trial / PARTICLES)["particles"].double()


def _steps(settings: Settings) -> list[str]:
    steps, n = (2, 2) if settings.tiny else (20, 4)
    return [f"trainer.max_steps={steps}", f"system.particles.n_particles={n}"]


def on_both(settings: Settings, config: str) -> dict[str, Any]:
    """Final particles of the same run on the device and on the CPU."""
    options = [*_steps(settings), "system.guidance.half_precision_weights=false"]
    ours, seconds = launch(settings, config, f"{config}-device", *options)
    reference, seconds_cpu = launch(settings, config, f"{config}-cpu", *options, cpu=True)
    difference = float((particles(ours) - particles(reference)).norm() / particles(reference).norm())
    if not difference < 0.05:
        raise AssertionError(f"relative difference of the particles {difference:.2g}")
    return {"relative_difference": difference, "seconds": seconds, "seconds_cpu": seconds_cpu, "ok": True}


def resumed(settings: Settings) -> dict[str, Any]:
    """A run in two parts against one without interruption."""
    whole = 2 if settings.tiny else 10
    n = "system.particles.n_particles=2"
    schedule = f"system.guidance.total_steps={whole}"
    full, _ = launch(settings, "text2image-sds", "whole", n, schedule, f"trainer.max_steps={whole}")
    half, _ = launch(settings, "text2image-sds", "half", n, schedule, f"trainer.max_steps={whole // 2}")
    resume = f"resume={half / 'ckpts' / 'last.ckpt'}"
    rest, _ = launch(settings, "text2image-sds", "rest", n, schedule, f"trainer.max_steps={whole}", resume)
    difference = float((particles(rest) - particles(full)).abs().max())
    if difference > 1e-3:
        raise AssertionError(f"largest difference {difference:.2g}")
    return {"largest_difference": difference, "to_the_bit": difference == 0, "ok": True}


def mixed_precision(settings: Settings) -> dict[str, Any]:
    """Weights of a 3D run in 16-mixed are finite."""
    steps = 1 if settings.tiny else 10
    size = ["data.width=16", "data.height=16"] if settings.tiny else []
    trial, seconds = launch(
        settings,
        "text2nerf-dreamfusion-bundled",
        "mixed",
        f"trainer.max_steps={steps}",
        "trainer.precision=16-mixed",
        "data.n_test_views=1",
        *size,
    )
    state = torch.load(trial / "ckpts" / "last.ckpt", map_location="cpu", weights_only=True)["state_dict"]
    bad = [name for name, value in state.items() if torch.is_tensor(value) and not value.isfinite().all()]
    if bad:
        raise AssertionError(f"not finite: {', '.join(bad[:3])}")
    return {"tensors": len(state), "seconds": seconds, "ok": True}


def scene_rows(settings: Settings) -> Iterator[Row]:
    """A step of four NeRFs on the bundled prior, by image size, without and with repulsion; and one and eight NeRFs."""
    sizes, count = ((16,), 2) if settings.tiny else ((64, 256, 512), 4)
    for n, batched in ((1, True), (8, False), (8, True)):
        name = f"{sizes[0]} px, {n} NeRFs, {'one call' if batched else 'loop'}"
        yield name, lambda options=(n, sizes[0], batched): scene_step(*options, tiny=settings.tiny)
    for size in sizes:
        for gamma, decoder in ((0.0, "full"), (20.0, "full"), (20.0, "render")):
            name = f"{size} px, gamma {gamma:g}, {decoder} decoder"
            yield name, lambda options=(count, size, True, gamma, decoder): scene_step(*options, tiny=settings.tiny)


def scene_step(
    n: int, size: int, batched: bool, gamma: float = 0.0, decoder: str = "full", *, tiny: bool
) -> dict[str, Any]:
    """A step of n NeRFs."""
    from threestudio_rsd.costs import peak_memory

    from ..text2nerf_step import Steps

    steps = Steps(n, size, batched, gamma, feature_decoder=decoder)
    for index in range(2 if tiny else 8):
        steps.step(index)
    return {"seconds": steps.median(), "gib": peak_memory(lambda: steps.step(9)) / 2**30}
