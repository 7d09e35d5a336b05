"""`rsd doctor`: versions, devices and caches of this machine, and what is missing, for bug reports."""

import argparse
import importlib.util
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

from ..errors import UserError, first_line, shorten
from ..files import data_path
from .options import CommandParser, Parsers, add_command

PACKAGE = "threestudio-rsd"
LIBRARIES = (
    *("torch", "torchvision", "pytorch-lightning", "diffusers", "transformers", "peft", "omegaconf", "numpy"),
    *("safetensors", "accelerate", "torchmetrics", "huggingface-hub", "pillow", "imageio-ffmpeg"),
)
OPTIONAL = {  # package: what needs it
    "deepinv": "inverse problems",
    "scikit-image": "export of meshes",
    "trimesh": "meshes as GLB",
    "torch-fidelity": "FID with Inception",
    "lpips": "LPIPS",
    "sentencepiece": "DeepFloyd IF",
    "submitit": "sweeps on Slurm",
    "gradio": "rsd app",
    "nerfacc": "faster ray marching on a GPU",
}
VARIABLES = ("RSD_HOST", "RSD_CACHE", "HF_HOME", "HF_HUB_OFFLINE", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")
GIB = 2**30


def add_parser(commands: Parsers) -> None:
    """Add `rsd doctor`."""
    add_command(
        commands,
        "doctor",
        run,
        _add_arguments,
        "Print versions, devices and caches of this machine, and what is missing, for bug reports.",
        "Loads no model and asks no network.",
    )


def run(args: argparse.Namespace) -> int:
    """Print what is there and what is missing."""
    from ..runs.trial import package_version

    print(f"{PACKAGE} {package_version(PACKAGE) or 'is not installed, only imported'}\n")
    for title, rows in (("Machine", _machine()), ("Libraries", _libraries()), ("Settings", _settings())):
        print(title, *(f"  {name:<20}{value}" for name, value in rows), "", sep="\n")
    return 0


def _add_arguments(parser: CommandParser) -> None:
    """No arguments of its own."""


def _machine() -> Iterator[tuple[str, str]]:
    import torch

    yield "Python", f"{platform.python_version()}, {sys.executable}"
    yield "system", platform.platform()
    yield "cores, memory", f"{os.cpu_count()}, {_memory()}"
    yield "PyTorch threads", str(torch.get_num_threads())
    if not torch.cuda.is_available():
        yield "GPU", f"none that PyTorch can use (built for CUDA {torch.version.cuda})"
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        yield f"GPU {index}", f"{device.name}, {device.total_memory / GIB:.1f} GiB, CUDA {torch.version.cuda}"


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / GIB:.1f} GiB"
    except (AttributeError, ValueError, OSError):  # not on every system
        return "unknown"


def _libraries() -> Iterator[tuple[str, str]]:
    from ..runs.trial import package_version

    for name in LIBRARIES:
        yield name, package_version(name) or "missing"
    for name, purpose in OPTIONAL.items():
        yield name, package_version(name) or f"missing, needed for {purpose}: pip install {name}"


def _settings() -> Iterator[tuple[str, str]]:
    from huggingface_hub import constants

    from ..priors.text.cache import cache_folder

    found = importlib.util.find_spec("threestudio")
    yield "threestudio", "none; rsd launch has its own host" if found is None else str(found.origin)
    yield "package", str(Path(__file__).resolve().parent.parent)
    try:
        yield "bundled prior", str(data_path("load/toyworld/text-to-image"))
    except UserError as error:
        yield "bundled prior", f"missing: {first_line(error)}"
    for name, folder in (("models of the Hub", Path(constants.HF_HUB_CACHE)), ("prompt embeddings", cache_folder())):
        yield name, f"{folder}{'' if folder.is_dir() else ' (not made yet)'}"
    for name in VARIABLES:
        if name in os.environ:
            yield name, shorten(os.environ[name])
