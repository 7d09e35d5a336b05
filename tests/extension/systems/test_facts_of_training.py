"""What is known from training stays in metrics.json when the checkpoint is tested or exported later."""

import json
from pathlib import Path

import pytest
from threestudio_rsd.runs.launching import find_config, register_modules
from threestudio_rsd.standalone.engine.launch import launch

IMAGES = ["system.particles.n_particles=2", "system.diversity_features=[]", "system.guidance.gamma=3"]
NERF = ["system.geometry.n_particles=2", "data.batch_size=2", "data.width=16", "data.height=16", "data.n_test_views=2"]
CASES = [
    ("text2image/sds.yaml", [*IMAGES, "system.guidance.features=euclidean"], 3),
    ("text2image/ancestral.yaml", ["system.num_inference_steps=2", *IMAGES[:2]], None),
    pytest.param(
        "text2nerf/dreamfusion-bundled.yaml",
        [*NERF, "system.diversity_features=[]", "system.guidance.gamma=0"],
        0,
        marks=pytest.mark.slow,
    ),
    pytest.param(
        "inverse/half-box.yaml",
        ["system.solver.n_particles=2", "system.solver.n_steps=2", "system.solver.gamma=0", "system.lpips=false"],
        None,
        marks=pytest.mark.slow,
    ),
]


@pytest.mark.parametrize(("config", "overrides", "gamma"), CASES)
def test_facts_stay(config, overrides, gamma, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    register_modules()
    place = ["name=runs", "tag=a", "use_timestamp=false"]
    steps = [] if "ancestral" in config or "inverse" in config else ["trainer.max_steps=2"]
    assert launch(find_config(f"configs/{config}"), "train", [*overrides, *place, *steps]) == 0
    file = Path("outputs/runs/a/save/metrics.json")
    trained = json.loads(file.read_text())
    assert trained["seconds_per_step"] > 0
    assert trained.get("gamma") == gamma
    file.unlink()
    resume = "resume=outputs/runs/a/ckpts/last.ckpt"
    assert launch("outputs/runs/a/configs/parsed.yaml", "test", [resume]) == 0
    tested = json.loads(file.read_text())
    assert tested["seconds_per_step"] == trained["seconds_per_step"]
    assert {key: value for key, value in tested.items() if key != "view_seconds"} == trained
