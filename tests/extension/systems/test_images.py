"""2D systems through `rsd launch`, on the bundled prior."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from threestudio_rsd.cli.main import main

STEPS = [
    "trainer.enable_progress_bar=false",
    "trainer.log_every_n_steps=1",
    "system.particles.n_particles=2",
    "use_timestamp=false",
]


def launch(config: str, folder: Path, *overrides: str, mode: str = "--train") -> Path:
    """Run `rsd launch`; return the trial's folder."""
    code = main(
        [
            "launch",
            "--config",
            f"configs/text2image/{config}.yaml",
            mode,
            f"exp_root_dir={folder}",
            "tag=t",
            *STEPS,
            *overrides,
        ]
    )
    assert not code
    return folder / f"rsd-text2image-{config}" / "t"


def particles(trial: Path) -> torch.Tensor:
    return load_file(trial / "save" / "test" / "particles.safetensors")["particles"]


@pytest.mark.parametrize(
    "config", ["sds", "vsd", *(pytest.param(name, marks=pytest.mark.slow) for name in ("nfsd", "svgd", "ancestral"))]
)
def test_every_config_writes_all_results(config: str, tmp_path: Path) -> None:
    overrides = (
        ["system.num_inference_steps=3"] if config == "ancestral" else ["trainer.max_steps=2", "system.metrics_every=1"]
    )
    trial = launch(config, tmp_path, *overrides)
    metrics = json.loads((trial / "save" / "metrics.json").read_text())
    assert set(metrics["diversity"]) == {"dino", "clip"}
    assert 1 <= metrics["colors"] <= 2
    assert metrics["prompt"] == "a mushroom"
    assert metrics["n_particles"] == 2
    assert metrics["seconds_per_step"] > 0
    calls = {"sds": 4, "vsd": 8, "nfsd": 6, "svgd": 6, "ancestral": 6}  # NFSD reads the negative prompt too
    assert metrics["network_calls_per_particle"] == calls[config]
    assert Image.open(trial / "save" / "test" / "particle_01.png").size == (64, 64)
    assert next((trial / "save").glob("it*-test.png"))
    assert particles(trial).shape == (2, 4, 16, 16)
    assert particles(trial).isfinite().all()
    names = torch.load(trial / "ckpts" / "last.ckpt", weights_only=True)["state_dict"]
    assert "particles" in names
    assert not any("prior" in name or "unet.conv_in" in name for name in names)
    log = (trial / "csv_logs" / "version_0" / "metrics.csv").read_text()
    assert config == "ancestral" or "train/diversity_dino" in log


@pytest.mark.parametrize("config", ["sds", pytest.param("vsd", marks=pytest.mark.slow)])
def test_resumed_run_is_bit_identical_to_uninterrupted_run(config: str, tmp_path: Path) -> None:
    common = ["system.guidance.total_steps=4", "system.metrics_every=0"]
    whole = launch(config, tmp_path / "whole", "trainer.max_steps=4", *common)
    half = launch(config, tmp_path / "half", "trainer.max_steps=2", *common)
    resume = f"resume={half / 'ckpts' / 'last.ckpt'}"
    rest = launch(config, tmp_path / "rest", "trainer.max_steps=4", resume, *common)
    assert torch.equal(particles(rest), particles(whole))
    calls = [
        json.loads((trial / "save" / "metrics.json").read_text())["network_calls_per_particle"]
        for trial in (whole, half, rest)
    ]
    per_step = {"sds": 2, "vsd": 4}[config]  # with and without the prompt; eps_phi in the direction and in training
    assert calls == [4 * per_step, 2 * per_step, 4 * per_step]
    assert not torch.equal(particles(half), particles(whole))


def test_gamma_0_is_bit_identical_to_the_base_method(tmp_path: Path) -> None:
    runs = [
        launch("sds", tmp_path / str(index), "trainer.max_steps=3", *overrides)
        for index, overrides in enumerate(
            [
                ["system.guidance.gamma=0"],
                ["system.guidance.gamma=20", "system.guidance.repulsion_max_step_percent=0"],
                ["system.guidance.gamma=20"],
            ]
        )
    ]
    assert torch.equal(particles(runs[0]), particles(runs[1]))
    assert not torch.equal(particles(runs[0]), particles(runs[2]))


@pytest.mark.slow
def test_validate_test_and_export_work_from_a_checkpoint(tmp_path: Path) -> None:
    trial = launch("sds", tmp_path / "train", "trainer.max_steps=2")
    resume = f"resume={trial / 'ckpts' / 'last.ckpt'}"
    for mode, result in (
        ("--validate", "save/it2-val.png"),
        ("--test", "save/test/particle_01.png"),
        ("--export", "save/export/particle_01.png"),
    ):
        again = launch("sds", tmp_path / mode, resume, mode=mode)
        assert (again / result).is_file()
    assert json.loads((again / "save" / "metrics.json").read_text())["network_calls_per_particle"] == 4
    exported = load_file(again / "save" / "export" / "particles.safetensors")["particles"]
    assert torch.equal(exported, particles(trial))


def test_pixel_space_particles_can_start_from_images(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), (200, 30, 30)).save(tmp_path / "red.png")
    options = ["system.particles.init=images", f"system.particles.init_path={tmp_path / 'red.png'}"]
    trial = launch("sds", tmp_path, "trainer.max_steps=1", "system.particles.space=pixel", *options)
    assert particles(trial).shape == (2, 3, 64, 64)
    red, green, _ = Image.open(trial / "save" / "test" / "particle_00.png").resize((1, 1)).getpixel((0, 0))
    assert red > green + 100


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["system.particles.n_particles=0"], ["particles.n_particles=0", "at least 1"]),
        (["system.particles.n_particles=many"], ["n", "many"]),
        (["system.particles.space=voxel"], ["particles.space='voxel'", "latent, pixel"]),
        (["system.particles.init=images"], ["particles.init_path"]),
        (["system.particles.color=red"], ["color"]),
        (["system.guidance.gamma=strong"], ["gamma", "strong"]),
        (["system.guidance_type=repulsive-ddim-guidance"], ["repulsive-ddim-guidance", "repulsive-sds-guidance"]),
        (["system.prompt_processor.prompt="], ["prompt"]),
        (["system.guidance_type=implicit-volume"], ["guidance_type='implicit-volume' is a ImplicitVolume", "accepted"]),
        (["system.prompt_processor_type=no-material"], ["prompt_processor_type='no-material' is a NoMaterial"]),
        (["system_type=no-material"], ["system_type='no-material' is a NoMaterial"]),
        (["data_type=particle-image-system"], ["data_type='particle-image-system' is a ParticleImageSystem"]),
        (["system.prompt_processor.prompt_front=a car"], ["prompt_front='a car' has no effect without"]),
        (["system.particles.n_particles=99999999999999"], ["n_particles=99999999999999 needs at least", "EiB"]),
        (["system.loss={lambda_vsd: 1}", "system.loss.lambda_sds=null"], ["system.loss.lambda_sds is missing"]),
        (["system.optimizer.params={particles: 3}"], ["optimizer.params.particles=3 has no keys"]),
        (["system.optimizer.args.betas=[]"], ["optimizer="]),
        (["trainer.max_steps=-5"], ["max_steps", "-5"]),
        (["resume=missing.ckpt"], ["missing.ckpt"]),
    ],
)
def test_invalid_values_print_one_sentence_and_exit_with_2(
    overrides: list[str], words: list[str], tmp_path: Path, capsys: Any
) -> None:
    try:
        code = main(
            ["launch", "--config", "configs/text2image/sds.yaml", "--train", f"exp_root_dir={tmp_path}", *overrides]
        )
    except SystemExit as stop:
        code = stop.code
    error = capsys.readouterr().err
    assert code == 2
    assert "Traceback" not in error
    assert all(word in error for word in words), error
    assert not list(tmp_path.iterdir()), "nothing may be half-written"
