"""The flow configs for Stable Diffusion and DeepFloyd IF on tiny random models: two steps each."""

import json
from pathlib import Path

import pytest
from threestudio_rsd.cli.main import main

from tests.tiny_models import tiny_deep_floyd, tiny_stable_diffusion

IMAGES = ["system.particles.n_particles=2", "system.guidance.noise_candidates=3", "system.guidance.features=euclidean"]
NERFS = [
    "system.geometry.n_particles=2",
    "data.batch_size=2",
    *(f"data.{name}=8" for name in ("width", "height", "eval_width", "eval_height")),
    "data.n_val_views=1",
    "data.n_test_views=2",
    "system.renderer.particle.num_samples_per_ray=8",
    "system.geometry.particle.pos_encoding_config.n_levels=2",
    "system.geometry.particle.pos_encoding_config.log2_hashmap_size=8",
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Folders of tiny random pipelines."""
    folder = tmp_path_factory.mktemp("models")
    return {
        "epsilon": tiny_stable_diffusion(folder / "epsilon"),
        "v": tiny_stable_diffusion(folder / "v", "v_prediction"),
        "deep-floyd": tiny_deep_floyd(folder / "deep-floyd"),
    }


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["text2image", "text2nerf"])
@pytest.mark.parametrize(("config", "model"), [("flow-sd", "epsilon"), ("flow-sd", "v"), ("flow-if", "deep-floyd")])
def test_config_runs_on_a_tiny_random_model(models, tmp_path: Path, folder: str, config: str, model: str) -> None:
    overrides = [
        f"exp_root_dir={tmp_path}",
        "use_timestamp=false",
        "tag=trial",
        "trainer.max_steps=2",
        "trainer.val_check_interval=2",
        "trainer.precision=32",
        f"system.guidance.pretrained_model_name_or_path={models[model]}",
        "system.prompt_processor.prompt=a mushroom",
        "system.diversity_features=[]",
        *(IMAGES if folder == "text2image" else NERFS),
    ]
    assert main(["launch", "--config", f"configs/{folder}/{config}.yaml", "--train", *overrides]) == 0
    (metrics,) = tmp_path.glob("*/trial/save/metrics.json")
    assert json.loads(metrics.read_text())["steps"] == 2
