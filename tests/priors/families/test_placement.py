"""Priors from pipeline objects whose weights are offloaded, placed by a device map or quantized."""

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from threestudio_rsd.priors import load_prior

from .test_loading import noise_of
from .test_sampling import SIZE, built

pytestmark = pytest.mark.skipif(
    not hasattr(diffusers.ModelMixin, "enable_group_offload"), reason="this diffusers is older than group offload"
)
FAMILY = "stable-diffusion-3"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Saved pipeline, and the noise prediction of its prior in `noise.pt`."""
    path = tmp_path_factory.mktemp("pipeline")
    pipe, prior = built(FAMILY)
    pipe.save_pretrained(path)
    torch.save(noise_of(prior), path / "noise.pt")
    return path


def difference(folder: Path, pipe: Any) -> float:
    """Relative difference of the noise prediction of a pipeline object to that of the plain one."""
    reference = torch.load(folder / "noise.pt")
    return float((noise_of(load_prior(pipe, image_size=SIZE)) - reference).norm() / reference.norm())


def test_model_offload_changes_nothing(folder: Path) -> None:
    pipe = diffusers.StableDiffusion3Pipeline.from_pretrained(folder)
    pipe.enable_model_cpu_offload(device="cpu")
    assert difference(folder, pipe) == 0


def test_a_device_map_changes_nothing(folder: Path) -> None:
    pipe = diffusers.StableDiffusion3Pipeline.from_pretrained(folder, device_map="cpu")
    assert pipe.hf_device_map is not None
    assert difference(folder, pipe) == 0


def test_group_offload_of_the_noise_network_changes_nothing(folder: Path) -> None:
    pipe = diffusers.StableDiffusion3Pipeline.from_pretrained(folder)
    pipe.transformer.enable_group_offload(onload_device=torch.device("cpu"), offload_type="leaf_level")
    assert difference(folder, pipe) == 0


def test_quantized_weights_change_the_prediction_by_their_rounding(folder: Path) -> None:
    quantization = pytest.importorskip("torchao.quantization")  # no extra installs it: its import warns on each start
    config = diffusers.TorchAoConfig(quantization.Int8WeightOnlyConfig())
    transformer = diffusers.SD3Transformer2DModel.from_pretrained(
        folder, subfolder="transformer", quantization_config=config, torch_dtype=torch.float32
    )
    assert type(transformer.transformer_blocks[0].attn.to_q.weight.data) is not torch.Tensor
    pipe = diffusers.StableDiffusion3Pipeline.from_pretrained(folder, transformer=transformer)
    assert 0 < difference(folder, pipe) < 0.02
