"""Released networks: half precision, same outputs as before, finished trainings only."""

import json

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from safetensors.torch import load_file
from threestudio_rsd.toyworld.training.release import release

from tests.library_versions import needs_training_libraries

from ...tiny_models import tiny_stable_diffusion


@needs_training_libraries
def test_released_networks_give_the_same_outputs_in_half_precision(tmp_path) -> None:
    work, destination = tmp_path / "work", tmp_path / "release"
    tiny_stable_diffusion(work / "text-to-image")
    plain = AutoencoderKL(
        block_out_channels=(8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        norm_num_groups=4,
        sample_size=32,
        mid_block_add_attention=False,
    )
    plain.save_pretrained(work / "text-to-image" / "vae", safe_serialization=True)
    (work / "judge").mkdir()
    (work / "text-to-image.done").touch()
    assert release(work, destination) == ["text-to-image"]
    assert not (destination / "judge").exists()

    folder = destination / "text-to-image"
    for file in folder.rglob("*.safetensors"):
        assert {value.dtype for value in load_file(file).values()} == {torch.float16}, file
    assert all(name.startswith("text_model.") for name in load_file(folder / "text_encoder" / "model.safetensors"))
    assert "mid_block_add_attention" not in json.loads((folder / "vae" / "config.json").read_text())

    latents = torch.randn(1, 4, 8, 8)
    released = StableDiffusionPipeline.from_pretrained(folder)
    original = StableDiffusionPipeline.from_pretrained(work / "text-to-image")
    tokens = torch.tensor([[3, 4, 5]])
    with torch.no_grad():
        assert torch.allclose(released.vae.decode(latents).sample, plain.decode(latents).sample, atol=1e-2)
        assert torch.allclose(released.text_encoder(tokens)[0], original.text_encoder(tokens)[0], atol=1e-2)


def test_a_second_release_replaces_the_first(tmp_path) -> None:
    work, destination = tmp_path / "work", tmp_path / "release"
    (work / "judge").mkdir(parents=True)
    (work / "judge.done").touch()
    (destination / "judge").mkdir(parents=True)
    (destination / "judge" / "old.txt").touch()
    release(work, destination)
    assert not (destination / "judge" / "old.txt").exists()
