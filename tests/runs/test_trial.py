"""Reading the results of finished runs from their trial folders."""

import json
from pathlib import Path

import pytest
from PIL import Image
from threestudio_rsd.runs.result_files import flatten, read_config
from threestudio_rsd.runs.trial import config_differences, find_grid, read_logs, versions


def make_trial(folder: Path, label: str, gamma: float, diversity: float = 0.5) -> Path:
    """A trial folder as particle-image-system leaves it."""
    save, logs = folder / label / "save", folder / label / "csv_logs" / "version_0"
    for path in (save, logs, folder / label / "configs"):
        path.mkdir(parents=True)
    Image.new("RGB", (8, 4), (int(gamma) * 10, 0, 0)).save(save / "it20-test.png")
    Image.new("RGB", (8, 4)).save(save / "it9-test.png")
    metrics = {"prompt": 'a <b>"mushroom"</b>', "n_particles": 8, "diversity": {"dino": diversity, "clip": 0.25}}
    metrics |= {"colors": 4, "class_accuracy": None, "seconds_per_step": 0.3}
    (save / "metrics.json").write_text(json.dumps(metrics))
    (logs / "metrics.csv").write_text(
        "epoch,step,train/diversity_clip,train/diversity_dino,train/loss\n0,9,,,1.0\n0,9,0.1,0.2,\n0,19,0.25,0.5,\n"
    )
    config = f"system:\n  guidance: {{gamma: {gamma}, features: dino}}\ntag: {label}\nseed: 0\n"
    (folder / label / "configs" / "parsed.yaml").write_text(config)
    return folder / label


@pytest.fixture
def trials(tmp_path) -> list[Path]:
    runs = {"without": 0.0, "with": 20.0}
    return [make_trial(tmp_path, label, gamma) for label, gamma in runs.items()]


def test_last_grid_and_curves_are_read(trials):
    assert find_grid(trials[0]).name == "it20-test.png"
    logs = read_logs(trials[0] / "csv_logs")
    assert logs.pop("loss") == [(9, 1.0)]
    assert logs == {"diversity_clip": [(9, 0.1), (19, 0.25)], "diversity_dino": [(9, 0.2), (19, 0.5)]}


def test_a_resumed_run_continues_its_curves(tmp_path):
    folder = make_trial(tmp_path, "one", 1.0)
    second = folder / "csv_logs" / "version_1"
    second.mkdir()
    (second / "metrics.csv").write_text("step,train/diversity_dino\n19,0.6\n29,0.7\n")
    assert read_logs(folder / "csv_logs")["diversity_dino"] == [(9, 0.2), (19, 0.6), (29, 0.7)]


def test_config_differences_by_dotted_key(trials):
    configs = [read_config(folder) for folder in trials]
    assert config_differences(configs) == {"system.guidance.gamma": [0.0, 20.0], "tag": ["without", "with"]}
    sampling = {"system_type": "ancestral-sampling-system", "seed": 1}
    differences = config_differences([*configs, sampling])
    assert differences["system_type"] == [None, None, "ancestral-sampling-system"]
    assert "seed" not in differences
    assert "system.guidance.gamma" in differences
    assert flatten({"a": {"b": [1, 2]}, "c": None}) == {"a.b": [1, 2], "c": None}


def test_versions_name_what_matters():
    assert {"Python", "torch", "diffusers", "transformers"} <= set(versions())
