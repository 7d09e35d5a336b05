"""Marks of tests that need more than the oldest supported libraries offer (`make test-versions` runs them all)."""

import importlib.util
from importlib import metadata

import diffusers
import pytest
import torch
from packaging import version
from threestudio_rsd.cli.toyworld_train import TRAINS_WITH


def _half_works_on_the_cpu() -> bool:
    try:
        torch.nn.functional.linear(torch.ones(1, 1).half(), torch.ones(1, 1).half())
    except RuntimeError:
        return False
    return True


needs_half_on_the_cpu = pytest.mark.skipif(
    not _half_works_on_the_cpu(), reason="this PyTorch has no half precision on the CPU, as 2.0"
)
needs_flop_counter = pytest.mark.skipif(
    importlib.util.find_spec("torch.utils.flop_counter") is None, reason="this PyTorch counts no operations, as 2.0"
)
needs_tiny_autoencoder = pytest.mark.skipif(
    not hasattr(diffusers, "AutoencoderTiny"), reason="this diffusers has no AutoencoderTiny, as 0.19"
)
needs_add_adapter = pytest.mark.skipif(
    not hasattr(diffusers.UNet2DConditionModel, "add_adapter"), reason="this diffusers has no adapters of peft, as 0.19"
)


def _trains() -> bool:
    return all(version.parse(metadata.version(name)) >= version.parse(oldest) for name, oldest in TRAINS_WITH.items())


needs_training_libraries = pytest.mark.skipif(
    not _trains(), reason="these libraries are too old for rsd toyworld train, as threestudio's pins"
)
needs_families = pytest.mark.skipif(
    version.parse(diffusers.__version__) < version.parse("0.31"), reason="this diffusers is older than these pipelines"
)
