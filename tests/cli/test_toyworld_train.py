"""`rsd toyworld train` from nothing, killed on the way, to networks that load."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from threestudio_rsd.cli.main import main

from tests.library_versions import needs_training_libraries

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("option", "message"),
    [("--share=0", "--share=0 "), ("--workers=0", "--workers=0 "), ("--only=dragon", "dragon")],
)
def test_impossible_options_are_one_sentence(tmp_path, capsys, option: str, message: str) -> None:
    assert main(["toyworld", "train", f"--output={tmp_path / 'work'}", option]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "work").exists()


@needs_training_libraries
def test_a_folder_begun_with_another_share_is_refused(tmp_path, capsys) -> None:
    (tmp_path / "share.json").write_text("0.5")
    assert main(["toyworld", "train", f"--output={tmp_path}"]) == 2
    assert "--share 0.5" in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_survives_a_kill_and_its_networks_load(tmp_path) -> None:
    command = [sys.executable, "-m", "threestudio_rsd.cli", "toyworld", "train"]
    command += [f"--output={tmp_path}", "--share=0.004", "--workers=2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "custom")}
    first = subprocess.Popen(command, env=environment, cwd=tmp_path, start_new_session=True)
    while not (tmp_path / "judge.done").is_file():
        assert first.poll() is None
        time.sleep(0.2)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    judge = (tmp_path / "judge" / "model.safetensors").read_bytes()

    subprocess.run(command, env=environment, cwd=tmp_path, check=True)
    assert (tmp_path / "judge" / "model.safetensors").read_bytes() == judge
    release = tmp_path / "release"
    assert {folder.name for folder in release.iterdir()} == {"text-to-image", "pixel", "flow", "dino", "clip", "judge"}
    for name in ("autoencoder", "judge", "clip", "dino", "pixel", "text-to-image", "flow"):
        entries = (tmp_path / "trainings" / name / "log.jsonl").read_text().splitlines()
        assert json.loads(entries[-1])["step"] == json.loads(entries[-1])["steps"]

    from diffusers import StableDiffusionPipeline
    from threestudio_rsd.priors import load_prior
    from threestudio_rsd.repulsion import load_features
    from threestudio_rsd.toyworld import ToyworldJudge

    pipeline = StableDiffusionPipeline.from_pretrained(release / "text-to-image")
    assert pipeline(["a red cup"], num_inference_steps=2, output_type="np").images.shape == (1, 64, 64, 3)
    assert load_prior(str(release / "pixel")).latent_shape == (3, 64, 64)
    assert load_prior(str(release / "flow")).latent_shape == (4, 16, 16)
    ToyworldJudge.from_folder(release / "judge")
    for name in ("dino", "clip"):
        load_features(str(release / name))
