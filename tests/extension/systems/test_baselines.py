"""Other methods for diversity (ESD, order-2 entropy, DSD, SDI, particle guidance), on the bundled prior."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from threestudio_rsd.cli.main import main

from tests.extension.systems.test_images import launch, particles


@pytest.mark.slow
@pytest.mark.parametrize("config", ["esd", "order-two", "dsd", "sdi", "particle-guidance"])
def test_every_config_writes_all_results(config: str, tmp_path: Path) -> None:
    trial = launch(
        config, tmp_path, *(["system.num_inference_steps=3"] if "guidance" in config else ["trainer.max_steps=2"])
    )
    metrics = json.loads((trial / "save" / "metrics.json").read_text())
    assert set(metrics["diversity"]) == {"dino", "clip"}
    assert metrics["seconds_per_step"] > 0
    assert ("strength" in metrics) == (config == "particle-guidance")
    assert particles(trial).shape == (2, 4, 16, 16)
    assert particles(trial).isfinite().all()
    names = torch.load(trial / "ckpts" / "last.ckpt", weights_only=True)["state_dict"]
    assert "particles" in names
    assert not any("prior" in name or "unet.conv_in" in name for name in names)


def test_particle_guidance_of_strength_0_is_bit_identical_to_ancestral_sampling(tmp_path: Path) -> None:
    plain = launch("ancestral", tmp_path, "system.num_inference_steps=3")
    options = ["system.num_inference_steps=3", "system.features=nobody/no-such-network", "system.strength=0"]
    assert torch.equal(particles(launch("particle-guidance", tmp_path, *options)), particles(plain))


@pytest.mark.parametrize(
    ("config", "override"),
    [
        ("ancestral", "system.num_inference_steps=2"),
        pytest.param("particle-guidance", "system.num_inference_steps=2", marks=pytest.mark.slow),
        pytest.param("flow", "trainer.max_steps=2", marks=pytest.mark.slow),
        pytest.param("vsd", "trainer.max_steps=2", marks=pytest.mark.slow),
    ],
)
def test_a_shipped_config_gives_no_warning(config: str, override: str, tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        launch(config, tmp_path, override)
    assert not [str(each.message) for each in shown if issubclass(each.category, UserWarning)]


@pytest.mark.parametrize("override", ["system.strength=-1", "system.features=dyno", "system.bandwidth=0"])
def test_invalid_values_print_one_sentence_and_exit_with_2(override: str, tmp_path: Path, capsys: Any) -> None:
    config = "configs/text2image/particle-guidance.yaml"
    code = main(["launch", "--config", config, "--train", f"exp_root_dir={tmp_path}", override])
    error = capsys.readouterr().err
    assert code == 2
    assert "Traceback" not in error
    assert override.split("=")[0].split(".")[1] in error
    assert not list(tmp_path.iterdir()), "nothing may be half-written"
