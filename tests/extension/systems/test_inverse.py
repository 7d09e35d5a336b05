"""Inverse problems through `rsd launch`, on the bundled priors."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from threestudio_rsd.cli.main import main
from threestudio_rsd.files import data_path
from threestudio_rsd.images.reading import read_image
from threestudio_rsd.metrics import measurement_residual, psnr

pytest.importorskip("deepinv")

SHORT = [
    "trainer.enable_progress_bar=false",
    "trainer.log_every_n_steps=1",
    "system.solver.n_particles=2",
    "system.lpips=false",
    "use_timestamp=false",
]
PIXEL = [
    "system_type=pixel-inverse-system",
    "system.prior_type=deep-floyd",
    "system.pretrained_model_name_or_path=bundled-pixel",
]
SIDE = 64  # pixels of the bundled priors' images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folder with two of the example images and their truths."""
    images = tmp_path / "images"
    images.mkdir()
    for name in ("car.png", "tree.png", "truth.json"):
        (images / name).write_bytes((data_path("load/inverse/examples") / name).read_bytes())
    return images


def launch(config: str, output: Path, images: Path, *overrides: str, mode: str = "--train") -> Path:
    """Run `rsd launch`; return the folder of results."""
    where = [f"exp_root_dir={output}", "tag=t", f"data.image_path={images}"]
    code = main(["launch", "--config", f"configs/inverse/{config}.yaml", mode, *where, *SHORT, *overrides])
    assert not code
    return output / f"rsd-inverse-{config}" / "t" / "save"


def numbers(tree: Any) -> Iterator[float]:
    """All numbers of a JSON tree."""
    for value in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from numbers(value)
    if isinstance(tree, (int, float)):
        yield tree


@pytest.mark.parametrize(
    ("config", "overrides", "shape", "has_x"),
    [
        ("half-box", [], (4, 16, 16), True),
        pytest.param("super-resolution", ["system.solver.name=psld"], (4, 16, 16), False, marks=pytest.mark.slow),
        pytest.param(
            "phase-retrieval", ["system.solver.name=latent-reddiff"], (4, 16, 16), False, marks=pytest.mark.slow
        ),
        pytest.param("decolorize", [*PIXEL, "system.solver.name=dps"], (3, SIDE, SIDE), False, marks=pytest.mark.slow),
        pytest.param(
            "nonlinear-blur", [*PIXEL, "system.solver.name=reddiff"], (3, SIDE, SIDE), False, marks=pytest.mark.slow
        ),
        pytest.param("half-box-latent-reddiff", [], (4, 16, 16), False, marks=pytest.mark.slow),
        pytest.param("half-box-psld", [], (4, 16, 16), False, marks=pytest.mark.slow),
        pytest.param("half-box-dps", [], (3, SIDE, SIDE), False, marks=pytest.mark.slow),
        pytest.param("half-box-reddiff", [], (3, SIDE, SIDE), False, marks=pytest.mark.slow),
        ("half-box-proximal", [], (4, 16, 16), False),
        pytest.param("hdr", [*PIXEL, "system.solver.name=proximal"], (3, SIDE, SIDE), False, marks=pytest.mark.slow),
        pytest.param(
            "half-box-daps",
            ["system.solver.langevin_steps=1", "system.solver.ode_steps=1"],
            (4, 16, 16),
            False,
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "half-box-resample", ["system.solver.consistency_steps=1"], (4, 16, 16), False, marks=pytest.mark.slow
        ),
    ],
)
def test_every_solver_writes_all_results(
    config: str, overrides: list[str], shape: tuple[int, ...], has_x: bool, folder: Path, tmp_path: Path
) -> None:
    results = launch(config, tmp_path, folder, "trainer.max_steps=2", *overrides)
    for name in ("car", "tree"):
        written = {file.name for file in (results / "test" / name).iterdir()}
        expected = {"truth.png", "measurement.png", "mean.png", "deviation.png", "particles.safetensors"}
        expected |= {f"particle_{j:02d}{kind}.png" for j in range(2) for kind in (("", "_x") if has_x else ("",))}
        assert written == expected
        tensors = load_file(results / "test" / name / "particles.safetensors")
        assert tensors["z"].shape == (2, *shape)
        assert tensors["images"].shape == (2, 3, SIDE, SIDE)
        assert ("x" in tensors) == has_x
        assert all(value.isfinite().all() for value in tensors.values())
        assert not torch.equal(tensors["z"][0], tensors["z"][1])
        assert Image.open(results / "test" / name / "deviation.png").size == (SIDE, SIDE)
    assert (results / "test" / "operator.safetensors").is_file()
    assert (results / "it2-test.png").is_file()
    metrics = json.loads((results / "metrics.json").read_text())
    assert all(math.isfinite(value) for value in numbers(metrics))
    assert metrics["n_particles"] == 2
    assert metrics["steps"] == 2
    assert metrics["failed"] == {}
    assert metrics["seconds_per_step"] > 0
    assert metrics["network_calls_per_particle"] == metrics["steps"]
    assert config.startswith(metrics["operator"]["name"])
    assert set(metrics["images"]) == {"car", "tree"}
    for record in (metrics["mean"], *metrics["images"].values()):
        for metric in ("psnr", "ssim"):
            assert {metric, f"{metric}_best", f"{metric}_of_mean"} <= record.keys()
        assert {key for key in record if key.startswith("diversity")} == {"diversity_dino", "diversity_clip"}
        assert "lpips" not in record
        assert 0 <= record["class_accuracy"] <= 1
        assert 1 <= record["colors"] <= 2
        assert 1 <= record["views"] <= 2
    log = (results.parent / "csv_logs" / "version_0" / "metrics.csv").read_text()
    assert "train/residual" in log


@pytest.mark.slow
def test_metrics_equal_those_computed_from_the_written_files(folder: Path, tmp_path: Path) -> None:
    """PSNR and residual, computed from the images, the measurement and the mask that the run wrote."""
    results = launch("half-box", tmp_path, folder, "trainer.max_steps=2", "data.operator.side=top")
    record = json.loads((results / "metrics.json").read_text())["images"]["car"]
    tensors = load_file(results / "test" / "car" / "particles.safetensors")
    truth = read_image(folder / "car.png", SIDE, "truth")
    mask = load_file(results / "test" / "operator.safetensors")["mask"][0]
    assert not mask[:, : SIDE // 2].any()
    assert mask[:, SIDE // 2 :].all()
    assert (tensors["measurement"] - mask * truth).abs().max() < 0.01  # ten deviations of the noise
    expected = psnr(tensors["images"], truth.expand(2, -1, -1, -1))
    assert record["answers"]["psnr"] == pytest.approx(expected.tolist(), abs=1e-3)
    assert record["psnr"] == pytest.approx(float(expected.mean()), abs=1e-3)
    of_mean = psnr(tensors["images"].mean(0, keepdim=True), truth[None])
    assert record["psnr_of_mean"] == pytest.approx(float(of_mean), abs=1e-3)
    residual = measurement_residual(tensors["measurement"].expand(2, -1, -1, -1), mask * tensors["images"])
    assert record["answers"]["residual"] == pytest.approx(residual.tolist(), abs=1e-5)
    assert record["residual"] == pytest.approx(float(residual.mean()), abs=1e-5)


@pytest.mark.parametrize(
    "overrides",
    [
        ["system.solver.gamma=50"],
        pytest.param([*PIXEL, "system.solver.name=dps", "system.solver.gamma=0"], marks=pytest.mark.slow),
    ],
)
def test_resumed_run_is_bit_identical_to_uninterrupted_run(overrides: list[str], folder: Path, tmp_path: Path) -> None:
    common = ["system.diversity_features=[]", *overrides]
    whole = launch("half-box", tmp_path / "whole", folder, "trainer.max_steps=3", *common)
    half = launch("half-box", tmp_path / "half", folder, "trainer.max_steps=2", *common)
    resume = f"resume={half.parent / 'ckpts' / 'last.ckpt'}"
    rest = launch("half-box", tmp_path / "rest", folder, "trainer.max_steps=3", resume, *common)
    for name in ("car", "tree"):
        file = Path("test") / name / "particles.safetensors"
        expected, found, before = (load_file(results / file) for results in (whole, rest, half))
        assert all(torch.equal(found[key], expected[key]) for key in expected)
        assert not torch.equal(before["z"], expected["z"])
    exported = launch("half-box", tmp_path / "export", folder, resume, *common, mode="--export")
    particles = load_file(exported / "export" / "car" / "particles.safetensors")
    assert torch.equal(particles["z"], load_file(half / "test" / "car" / "particles.safetensors")["z"])


@pytest.mark.slow
def test_resuming_with_other_images_raises_user_error(folder: Path, tmp_path: Path, capsys: Any) -> None:
    results = launch("half-box", tmp_path / "first", folder, "trainer.max_steps=1", "system.diversity_features=[]")
    (folder / "tree.png").unlink()
    resume = f"resume={results.parent / 'ckpts' / 'last.ckpt'}"
    code, error = attempt(tmp_path / "second", capsys, f"data.image_path={folder}", resume, *SHORT)
    assert code == 2
    assert "another problem" in error


def test_broken_images_of_a_folder_are_skipped(folder: Path, tmp_path: Path, capsys: Any) -> None:
    (folder / "broken.png").write_bytes((folder / "car.png").read_bytes()[:200])
    Image.new("RGBA", (50, 90), (200, 30, 30, 128)).save(folder / "other.webp")
    results = launch(
        "half-box", tmp_path, folder, "trainer.max_steps=1", "system.diversity_features=[]", "data.batch_size=1"
    )
    metrics = json.loads((results / "metrics.json").read_text())
    assert set(metrics["failed"]) == {"broken.png"}
    assert set(metrics["images"]) == {"car", "other", "tree"}
    assert "class_accuracy" not in metrics["images"]["other"], "its class is unknown"
    assert "broken.png" in capsys.readouterr().err.strip().splitlines()[-1], "the last line repeats the failure"


@pytest.mark.slow
def test_results_do_not_depend_on_batch_size(folder: Path, tmp_path: Path) -> None:
    runs = [
        launch(
            "half-box",
            tmp_path / size,
            folder,
            "trainer.max_steps=2",
            "system.diversity_features=[]",
            f"data.batch_size={size}",
        )
        for size in ("null", "1")
    ]
    answers = [load_file(run / "test" / "tree" / "particles.safetensors")["z"] for run in runs]
    torch.testing.assert_close(answers[0], answers[1], rtol=1e-3, atol=1e-3)


def attempt(output: Path, capsys: Any, *overrides: str) -> tuple[int, str]:
    """Exit code and error message of a run of one step."""
    fixed = ["trainer.max_steps=1", f"exp_root_dir={output}"]
    try:
        code = main(["launch", "--config", "configs/inverse/half-box.yaml", "--train", *fixed, *overrides])
    except SystemExit as stop:
        code = int(stop.code or 0)
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return code, next(line for line in error.splitlines() if line.startswith("rsd: error:"))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["data.image_path=missing.png"], ["data.image_path='missing.png'", "does not exist"]),
        (["data.image_path={empty}"], ["data.image_path", "holds no image"]),
        (["data.image_path={broken}"], ["data.image_path", "cannot be read"]),
        (["data.image_size=32"], ["data.image_size=32", "64"]),
        (["data.batch_size=0"], ["data.batch_size=0"]),
        (["data.operator.name=blur"], ["operator.name='blur'", "gaussian-blur, motion-blur"]),
        (["data.operator.strength=2"], ["data.operator.strength=2", "unknown key"]),
        (["data.operator.sigma=-0.1"], ["operator.sigma=-0.1", "at least 0"]),
        (["data.operator.name=mask", "data.operator.mask_path={black}"], ["black.png", "hides every pixel"]),
        (["data.operator.name=mask", "data.operator.mask_path={small}"], ["small.png", "32x32", "64x64"]),
        (["system.solver.name=psld"], ["gamma=15", "psld"]),
        (["system.solver.name=dps"], ["system.solver.name='dps'", "rsd, latent-reddiff, psld"]),
        (["system.solver.n_particles=1.5"], ["system.solver.n_particles=1.5", "int"]),
        (["system.solver.gamma=strong"], ["system.solver", "wrong type"]),
        (["system.solver.steps=3"], ["system.solver.steps=3", "n_steps"]),
        (["trainer.max_steps=301"], ["trainer.max_steps=301", "system.solver.n_steps=300"]),
        (PIXEL[1:], ["'bundled-pixel' has no decoder", "pixel-inverse-system"]),
        (PIXEL[:1], ["'bundled' has a decoder", "latent-inverse-system"]),
        (
            ["data.operator.name=hdr", "system.solver.x_step=closed-form"],
            ["x_step='closed-form'", "HighDynamicRange is not linear"],
        ),
    ],
)
def test_invalid_values_print_one_sentence_and_exit_with_2(
    overrides: list[str], words: list[str], tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.png").write_text("no image")
    Image.new("L", (SIDE, SIDE), 0).save(tmp_path / "black.png")
    Image.new("L", (SIDE // 2, SIDE // 2), 255).save(tmp_path / "small.png")
    files = {name: tmp_path / name for name in ("empty",)}
    files |= {name: tmp_path / f"{name}.png" for name in ("broken", "black", "small")}
    code, error = attempt(tmp_path / "runs", capsys, *(override.format(**files) for override in overrides))
    assert code == 2
    assert all(word in error for word in words), error
    if not overrides[0].startswith("trainer."):  # trainer.max_steps is checked once the trainer has started
        assert not (tmp_path / "runs").exists(), "no file may be written"
    assert not list((tmp_path / "runs").rglob("save"))


def test_missing_image_path_error_names_the_key(tmp_path: Path, capsys: Any) -> None:
    config = "configs/inverse/paper-half-box-sd15.yaml"
    assert main(["launch", "--config", config, "--train", f"exp_root_dir={tmp_path}"]) == 2
    assert "data.image_path has no value" in capsys.readouterr().err
