"""`dreamfusion-system` through `rsd launch`, with a tiny config that has the keys of threestudio's own."""

import os
from pathlib import Path

import pytest
import torch
import yaml
from threestudio_rsd.cli.main import main
from threestudio_rsd.extension import threestudio_dreamfusion  # noqa: F401 registers

from tests.tiny_models import tiny_deep_floyd, tiny_stable_diffusion

CONFIG = """
name: dreamfusion
tag: "${rmspace:${system.prompt_processor.prompt},_}"
use_timestamp: false
data_type: random-camera-datamodule
data:
  batch_size: 2
  width: 8
  height: 8
  eval_width: 8
  eval_height: 8
  n_val_views: 1
  n_test_views: 3
  camera_distance_range: [1.5, 2.0]
  light_sample_strategy: dreamfusion
system_type: dreamfusion-system
system:
  geometry_type: implicit-volume
  geometry:
    radius: 2.0
    normal_type: analytic
    density_bias: blob_magic3d
    density_activation: softplus
    density_blob_scale: 10.
    density_blob_std: 0.5
    isosurface_resolution: 8
    pos_encoding_config:
      otype: ProgressiveBandHashGrid
      n_levels: 3
      n_features_per_level: 2
      log2_hashmap_size: 6
      base_resolution: 4
      per_level_scale: 1.4
      start_level: 1
      start_step: 1
      update_steps: 1
    mlp_network_config: {otype: VanillaMLP, activation: ReLU, output_activation: none, n_neurons: 8, n_hidden_layers: 1}
  material_type: diffuse-with-point-light-material
  material: {ambient_only_steps: 1, albedo_activation: sigmoid}
  background_type: neural-environment-map-background
  background: {color_activation: sigmoid}
  renderer_type: nerf-volume-renderer
  renderer: {radius: "${system.geometry.radius}", num_samples_per_ray: 8}
  prompt_processor:
    prompt: ???
  guidance: {guidance_scale: 20., weighting_strategy: sds, min_step_percent: 0.02, max_step_percent: 0.98}
  exporter: {fmt: obj, save_uv: false, save_texture: false}
  loss:
    lambda_sds: 1.
    lambda_orient: [0, 10., 1000., 5000]
    lambda_sparsity: 1.
    lambda_opaque: 0.1
    lambda_z_variance: 0.1
  optimizer:
    name: Adam
    args: {lr: 0.01, betas: [0.9, 0.99], eps: 1.e-15}
    params: {geometry: {lr: 0.01}, background: {lr: 0.001}}
trainer:
  max_steps: 2
  log_every_n_steps: 1
  num_sanity_val_steps: 0
  val_check_interval: 2
  enable_progress_bar: false
  precision: 16-mixed
checkpoint:
  save_last: true
  save_top_k: -1
  every_n_train_steps: ${trainer.max_steps}
"""
PROMPT = "system.prompt_processor.prompt=a mushroom"


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("models")
    return {
        "stable-diffusion": tiny_stable_diffusion(folder / "sd"),
        "deep-floyd": tiny_deep_floyd(folder / "if"),
    }


@pytest.fixture
def launch(models, tmp_path, monkeypatch):
    """Runs `rsd launch` on the config with one of the models: (kind, mode, overrides...) -> trial folder."""
    monkeypatch.chdir(tmp_path)

    def run(kind: str, mode: str, *overrides: str, tag: str = "run", drop: str = "", code: int = 0) -> Path:
        if kind == "deep-floyd":
            pytest.importorskip("sentencepiece")
        config = yaml.safe_load(CONFIG)
        config["system"]["loss"].pop(drop, None)
        for part in ("prompt_processor", "guidance"):
            name = part.replace("_", "-")
            config["system"][f"{part}_type"] = f"{kind}-{name}"
            config["system"][part]["pretrained_model_name_or_path"] = models[kind]
        Path("config.yaml").write_text(yaml.safe_dump(config))
        assert main(["launch", "--config", "config.yaml", f"--{mode}", PROMPT, f"tag={tag}", *overrides]) == code
        return tmp_path / "outputs" / "dreamfusion" / tag

    return run


def checkpoint(trial: Path) -> dict:
    return torch.load(trial / "ckpts" / "last.ckpt", weights_only=True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["stable-diffusion", "deep-floyd"])
def test_training_writes_the_files_that_threestudio_writes(launch, kind: str) -> None:
    trial = launch(kind, "train")
    saved = {path.relative_to(trial / "save").as_posix() for path in (trial / "save").rglob("*.*")}
    assert saved == {"it2-0.png", *(f"it2-test/{view}.png" for view in range(3)), "it2-test.mp4"}
    logged = (trial / "csv_logs/version_0/metrics.csv").read_text().splitlines()[0].split(",")
    names = ("sds", "orient", "sparsity", "opaque", "z_variance")
    assert {f"train/loss_{name}" for name in names} | {"train/grad_norm", "train_params/lambda_sds"} <= set(logged)
    assert {name.split(".")[0] for name in checkpoint(trial)["state_dict"]} <= {
        "geometry",
        "material",
        "background",
        "renderer",
    }


@pytest.mark.slow
def test_checkpoint_can_be_resumed_tested_and_exported(launch) -> None:
    first = launch("stable-diffusion", "train", tag="first")
    resume = f"resume={first}/ckpts/last.ckpt"
    rest = launch("stable-diffusion", "train", "trainer.max_steps=3", resume, tag="rest")
    before, after = checkpoint(first), checkpoint(rest)
    assert (before["global_step"], after["global_step"]) == (2, 3)
    moments = [state["optimizer_states"][0]["state"][0]["step"] for state in (before, after)]
    assert [int(moment) for moment in moments] == [2, 3], "Adam goes on where it was"
    tested = launch("stable-diffusion", "test", resume, tag="tested")
    for name in ("0.png", "1.png", "2.png"):
        file = Path("save/it2-test") / name
        assert (tested / file).read_bytes() == (first / file).read_bytes()
    exported = launch("stable-diffusion", "export", resume, "system.geometry.isosurface_threshold=0.3", tag="exported")
    assert list((exported / "save/it2-export").glob("*.obj"))


def test_loss_without_weight_raises_an_error(launch, capsys) -> None:
    launch("stable-diffusion", "train", drop="lambda_sds", code=2)
    assert "system.loss.lambda_sds is missing" in capsys.readouterr().err


def test_training_with_perp_neg_runs(launch) -> None:
    trial = launch("stable-diffusion", "train", "system.prompt_processor.use_perp_neg=true", "trainer.max_steps=1")
    assert checkpoint(trial)["global_step"] == 1


@pytest.mark.skipif("THREESTUDIO_ROOT" not in os.environ, reason="THREESTUDIO_ROOT is not set to a checkout")
@pytest.mark.parametrize(("kind", "name"), [("stable-diffusion", "dreamfusion-sd"), ("deep-floyd", "dreamfusion-if")])
def test_threestudios_own_configs_run_unchanged(models, tmp_path, monkeypatch, kind: str, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    config = Path(os.environ["THREESTUDIO_ROOT"]) / "configs" / f"{name}.yaml"
    tiny = yaml.safe_load(CONFIG)
    overrides = [
        f"data.{key}={tiny['data'][key]}" for key in tiny["data"] if key.endswith(("width", "height", "views"))
    ]
    overrides += [
        f"system.{part}.pretrained_model_name_or_path={models[kind]}" for part in ("prompt_processor", "guidance")
    ]
    overrides += ["trainer.max_steps=2", "trainer.val_check_interval=2", "use_timestamp=false", PROMPT]
    assert main(["launch", "--config", str(config), "--train", *overrides]) == 0
    assert (tmp_path / "outputs" / name / "a_mushroom" / "save" / "it2-test.mp4").stat().st_size > 0
