"""Configs for today's families on tiny random models: two steps each, and a run that is resumed to the bit."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from threestudio_rsd.cli.main import main

from tests.tiny_families import PIPELINES, tiny_pipeline
from tests.tiny_models import tiny_stable_diffusion

from .test_flow_configs import IMAGES, NERFS

pytestmark = pytest.mark.slow
OWN_CONFIGS = {"stable-diffusion-3": "flow-sd3", "flux": "flow-flux"}


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory):
    """Folder of a family's tiny pipeline, which is written once."""
    root = tmp_path_factory.mktemp("models")

    def write(family: str) -> str:
        if not (root / family).is_dir():
            tiny_pipeline(family).save_pretrained(root / family)
        return str(root / family)

    return write


def launch(config: str, output: Path, *overrides: str, tag: str = "trial") -> Path:
    """Run a config for two steps; its save folder."""
    common = [
        f"exp_root_dir={output}",
        "use_timestamp=false",
        f"tag={tag}",
        "trainer.max_steps=2",
        "trainer.val_check_interval=2",
        "trainer.precision=32",
        "system.prompt_processor.prompt=a mushroom",
        "system.diversity_features=[]",
    ]
    assert main(["launch", "--config", f"configs/{config}.yaml", "--train", *common, *overrides]) == 0
    (save,) = output.glob(f"*/{tag}/save")
    assert json.loads((save / "metrics.json").read_text())["steps"] == 2
    return save


@pytest.mark.parametrize("family", PIPELINES)
def test_text_to_image_runs_with_each_family(folder_of, tmp_path: Path, family: str) -> None:
    launch(
        f"text2image/{OWN_CONFIGS.get(family, 'flow-families')}",
        tmp_path,
        f"system.guidance.prior_type={family}",
        f"system.guidance.pretrained_model_name_or_path={folder_of(family)}",
        "system.guidance.image_size=32",
        "system.guidance.gamma=1",
        *IMAGES,
    )


def test_text_to_nerf_runs_on_stable_diffusion_3(folder_of, tmp_path: Path) -> None:
    model = f"system.guidance.pretrained_model_name_or_path={folder_of('stable-diffusion-3')}"
    launch("text2nerf/flow-sd3", tmp_path, model, "system.guidance.image_size=32", *NERFS)


def test_text_to_nerf_runs_with_a_wrapped_guidance(tmp_path: Path) -> None:
    model = tiny_stable_diffusion(tmp_path / "model")
    wrapped = [f"system.guidance.guidance.pretrained_model_name_or_path={model}", "system.guidance.features=euclidean"]
    launch("text2nerf/repulsive-guidance", tmp_path, *wrapped, *NERFS)


@pytest.mark.parametrize("family", ["stable-diffusion-3", "flux"])
def test_vsd_runs_and_resumes_to_the_bit(folder_of, tmp_path: Path, family: str) -> None:
    overrides = [
        f"system.guidance.prior_type={family}",
        f"system.guidance.pretrained_model_name_or_path={folder_of(family)}",
        "system.guidance.image_size=32",
        "system.guidance.vsd_network=lora",
        "system.particles.n_particles=2",
        "system.guidance.features=euclidean",
        "checkpoint.every_n_train_steps=1",
    ]
    whole = launch("text2image/vsd", tmp_path, *overrides, tag="whole")
    (checkpoint,) = (whole.parent / "ckpts").glob("*step=1.ckpt")
    resumed = launch("text2image/vsd", tmp_path, *overrides, f"resume={checkpoint}", tag="resumed")
    particles = [load_file(save / "test/particles.safetensors")["particles"] for save in (whole, resumed)]
    assert torch.equal(*particles)
    assert not torch.equal(particles[0], torch.zeros_like(particles[0]))
