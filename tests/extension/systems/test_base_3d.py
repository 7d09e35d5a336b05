"""Text-to-3D with particles, through `rsd launch` on the bundled prior."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from threestudio_rsd.cli.main import main
from threestudio_rsd.extension import guidance, systems  # noqa: F401 registers them
from threestudio_rsd.files import data_path
from threestudio_rsd.host import find, load_config

N = 2
TINY = [
    f"system.geometry.n_particles={N}",
    f"data.batch_size={N}",
    "data.width=16",
    "data.height=16",
    "data.eval_width=16",
    "data.eval_height=16",
    "data.n_val_views=1",
    "data.n_test_views=3",
    "system.geometry.particle.pos_encoding_config.n_levels=2",
    "system.geometry.particle.isosurface_resolution=16",
    "system.renderer.particle.num_samples_per_ray=16",
    "system.metrics_every=1",
    "system.guidance.total_steps=3",
    "trainer.enable_progress_bar=false",
    "trainer.val_check_interval=2",
    "trainer.log_every_n_steps=1",
]
BUNDLED = "configs/text2nerf/dreamfusion-bundled.yaml"


def launch(output: Path, *overrides: str, config: str = BUNDLED, mode: str = "--train", code: int = 0) -> Path:
    """Run `rsd launch`; return the trial folder."""
    fixed = [f"exp_root_dir={output}", "name=run", "tag=trial", "use_timestamp=false"]
    assert main(["launch", "--config", config, mode, *fixed, *overrides]) == code
    return output / "run" / "trial"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: Any) -> Path:
    return launch(tmp_path_factory.mktemp("trained"), *TINY, "trainer.max_steps=2")


def test_run_writes_all_results(trained: Path) -> None:
    results = trained / "save"
    for index in range(N):
        assert len(list((results / "it2-test" / f"particle_{index:02d}").glob("*.png"))) == 3
        assert (results / "it2-test" / f"particle_{index:02d}.mp4").stat().st_size > 0
    assert (results / "it2-test.mp4").stat().st_size > 0
    assert (results / "it2-val-0.png").is_file()
    assert Image.open(results / "it2-test-sheet.png").size == (3 * 18 - 2, N * 18 - 2)
    metrics = json.loads((results / "metrics.json").read_text())
    assert metrics["n_particles"] == N
    assert metrics["steps"] == 2
    assert metrics["views"] == 3
    assert metrics["gamma"] == 20
    assert metrics["network_calls_per_particle"] == 4  # two steps, one view, with and without the prompt
    assert set(metrics["diversity"]) == {"dino", "clip"}
    assert 1 <= metrics["colors"] <= N
    assert metrics["similarity"]["dino"] == pytest.approx(1 - metrics["diversity"]["dino"])
    assert 0 <= metrics["class_accuracy"] <= 1
    assert len(metrics["class_accuracy_each"]) == N
    log = (trained / "csv_logs" / "version_0" / "metrics.csv").read_text()
    assert "train/diversity_dino" in log
    assert "train/similarity_clip" in log
    assert "train/loss_sparsity" in log


def test_checkpoints_contain_particles_and_grids_but_no_prior(trained: Path) -> None:
    state = torch.load(trained / "ckpts" / "last.ckpt", weights_only=True)["state_dict"]
    assert all(name.split(".")[0] in ("geometry", "material", "background", "renderer") for name in state)
    for index in range(N):
        assert f"geometry.particles.{index}.density_network.layers.0.weight" in state
        assert f"renderer.particles.{index}.estimator.occs" in state
    first, second = (state[f"geometry.particles.{index}.density_network.layers.0.weight"] for index in range(N))
    assert not torch.equal(first, second)


def test_resumed_run_is_bit_identical_to_uninterrupted_run(trained: Path, tmp_path: Path) -> None:
    whole = launch(tmp_path / "whole", *TINY, "trainer.max_steps=3")
    rest = launch(tmp_path / "rest", *TINY, "trainer.max_steps=3", f"resume={trained / 'ckpts' / 'last.ckpt'}")
    states = [torch.load(run / "ckpts" / "last.ckpt", weights_only=True)["state_dict"] for run in (whole, rest)]
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


@pytest.mark.slow
def test_checkpoint_can_be_tested_validated_and_exported(trained: Path, tmp_path: Path) -> None:
    trimesh = pytest.importorskip("trimesh")
    resume = f"resume={trained / 'ckpts' / 'last.ckpt'}"
    low = "system.geometry.particle.isosurface_threshold=1"  # two steps leave a thin cloud
    tested = launch(tmp_path / "test", *TINY, resume, mode="--test") / "save"
    assert (tested / "it2-test.mp4").is_file()
    assert (tested / "metrics.json").is_file()
    assert (launch(tmp_path / "val", *TINY, resume, mode="--validate") / "save" / "it2-val-0.png").is_file()
    exported = launch(tmp_path / "export", *TINY, resume, low, mode="--export") / "save" / "it2-export"
    for index in range(N):
        mesh = trimesh.load(exported / f"particle_{index:02d}" / "model.obj", force="mesh")
        assert len(mesh.faces) > 10
        assert mesh.visual.vertex_colors.shape == (len(mesh.vertices), 4)


@pytest.mark.slow
def test_particles_do_not_depend_on_their_number(trained: Path, tmp_path: Path) -> None:
    """Without repulsion, particle 0 is the same in runs of one and of two particles, before and after training."""
    fixed = [*TINY, "trainer.max_steps=1", "system.guidance.gamma=0", "system.renderer.particle.randomized=false"]
    two = launch(tmp_path / "two", *fixed)
    one = launch(tmp_path / "one", *fixed, "system.geometry.n_particles=1", "data.batch_size=1")
    states = [torch.load(run / "ckpts" / "last.ckpt", weights_only=True)["state_dict"] for run in (one, two)]
    for name, value in states[0].items():
        if name.startswith("geometry"):
            torch.testing.assert_close(value, states[1][name], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_vsd_trains_one_network_for_all_particles(tmp_path: Path) -> None:
    trial = launch(
        tmp_path,
        *TINY,
        "trainer.max_steps=2",
        "system_type=particle-prolificdreamer-system",
        "system.guidance_type=repulsive-vsd-guidance",
        "system.guidance.camera_condition=extrinsics",
        "system.loss.lambda_vsd=1",
        "system.loss.lambda_lora=1",
        "system.optimizer.params.guidance.lr=0.001",
    )
    state = torch.load(trial / "ckpts" / "last.ckpt", weights_only=True)["state_dict"]
    trained = [name for name in state if name.startswith("guidance")]
    assert trained
    assert any("lora" in name for name in trained)
    assert "train/loss_lora" in (trial / "csv_logs" / "version_0" / "metrics.csv").read_text()


@pytest.mark.slow
def test_views_of_one_object_can_repel_each_other(tmp_path: Path) -> None:
    trial = launch(
        tmp_path,
        *[override for override in TINY if "particle" not in override],
        "trainer.max_steps=1",
        "trainer.val_check_interval=1",
        "trainer.precision=32",
        "data.batch_size=3",
        "system.geometry.pos_encoding_config.n_levels=2",
        "system.geometry.isosurface_resolution=16",
        "system.renderer.num_samples_per_ray=16",
        "system.guidance.prior_type=stable-diffusion",
        "system.guidance.pretrained_model_name_or_path=bundled",
        "system.prompt_processor.prompt=a car",
        config="configs/text2nerf/views-dreamfusion-if.yaml",
    )
    metrics = json.loads((trial / "save" / "metrics.json").read_text())
    assert metrics["n_particles"] == 1
    assert metrics["gamma"] == 200
    log = (trial / "csv_logs" / "version_0" / "metrics.csv").read_text().splitlines()
    column = log[0].split(",").index("train/force_norm")
    assert any(float(line.split(",")[column] or 0) > 0 for line in log[1:])


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["data.batch_size=3"], ["data.batch_size=3", "n_particles=2", "2 or 4"]),
        (["system.geometry.particle_type=implicit-volumes"], ["implicit-volumes", "implicit-volume"]),
        (["system.material.n_particles=3"], ["system.material.n_particles=3", "system.geometry.n_particles=2"]),
        (["data.n_particles=1"], ["data.n_particles=1", "2 particles"]),
        (["system.geometry_type=implicit-volume", "system.geometry={radius: 1}"], ["system.geometry"]),
        (["system.geometry.particle.n_levels=3"], ["n_levels"]),
        (["system.loss.lambda_sds=null"], ["system.loss.lambda_sds"]),
        (["system.loss.lambda_orient=1"], ["lambda_orient", "normals"]),
    ],
)
def test_invalid_values_print_one_sentence(overrides: list[str], words: list[str], tmp_path: Path, capsys: Any) -> None:
    launch(tmp_path, *TINY, "trainer.max_steps=1", *overrides, code=2)
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("rsd: error:")]
    assert len(error) == 1
    assert all(word in error[0] for word in words), error


def test_export_without_a_surface_prints_an_error(trained: Path, tmp_path: Path, capsys: Any) -> None:
    pytest.importorskip("trimesh")
    resume = f"resume={trained / 'ckpts' / 'last.ckpt'}"
    launch(tmp_path, *TINY, resume, "system.geometry.particle.isosurface_threshold=1e9", mode="--export", code=2)
    assert "lower system.geometry.particle.isosurface_threshold or train longer" in capsys.readouterr().err


def test_gradients_are_clipped_per_particle() -> None:
    cfg = load_config(str(data_path(BUNDLED)), cli_args=TINY)
    data = find(cfg.data_type)(cfg.data)
    data.setup("fit")
    system = find(cfg.system_type)(cfg.system)
    system.make_guidance()
    system.do_update_step(0, 0)
    system.training_step(next(iter(data.train_dataloader())), 0)["loss"].backward()
    norms = []
    for particle, factor in zip(system.geometry.particles, (1.0, 1000.0), strict=True):
        gradients = [parameter.grad for parameter in particle.parameters()]
        for gradient in gradients:
            gradient.mul_(factor)
        norms.append(torch.stack([gradient.norm() for gradient in gradients]).norm())
    system.configure_gradient_clipping(None, float(norms[0]) * 2, "norm")
    for particle, norm in zip(system.geometry.particles, (norms[0], norms[0] * 2), strict=True):
        clipped = torch.stack([parameter.grad.norm() for parameter in particle.parameters()]).norm()
        torch.testing.assert_close(clipped, norm, rtol=1e-3, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("view_noise", ["constant", "world-map"])
def test_a_resumed_run_along_the_flow_equals_an_uninterrupted_one(view_noise: str, tmp_path: Path) -> None:
    flow = "configs/text2nerf/flow-bundled.yaml"
    options = [*TINY, f"system.guidance.view_noise={view_noise}", "system.metrics_every=0"]
    if view_noise == "constant":
        options.append("system.guidance.world_map_interval=null")
    whole = launch(tmp_path / "whole", *options, "trainer.max_steps=3", config=flow)
    first = launch(tmp_path / "first", *options, "trainer.max_steps=1", "trainer.val_check_interval=1", config=flow)
    resume = f"resume={first / 'ckpts' / 'last.ckpt'}"
    rest = launch(tmp_path / "rest", *options, "trainer.max_steps=3", resume, config=flow)
    states = [torch.load(trial / "ckpts" / "last.ckpt", weights_only=True)["state_dict"] for trial in (whole, rest)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("system.guidance.gama=3", "system.guidance.gama=3 is an unknown key"),
        ("system.prompt_processor.prompt_front=a car", "prompt_front='a car' has no effect without"),
        ("system.guidance.features=nothing", "nothing"),
        ("system.geometry.n_particles=99999999999999", "system.geometry.n_particles=99999999999999 needs at least"),
        ("data.n_test_views=99999999999999", "data.n_test_views=99999999999999 with images of 16 x 16 pixels needs at"),
        ("data.batch_size=99999999999998", "data.batch_size=99999999999998 with images of 16 x 16 pixels needs at"),
    ],
)
def test_mistakes_are_found_before_anything_is_written(override: str, words: str, tmp_path: Path, capsys: Any) -> None:
    further = {"front": "system.guidance.view_dependent_prompting=false", "geometry": "data.n_particles=2"}
    launch(tmp_path, *TINY, *(value for word, value in further.items() if word in override), override, code=2)
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_memory_of_a_step_in_chunks_changes_nothing(tmp_path: Path) -> None:
    """Deferred back-propagation: the same particles up to rounding, which Adam enlarges where gradients vanish."""
    common = [*TINY, "trainer.max_steps=2", "system.renderer.batched=false", "system.loss.lambda_opaque=1"]
    runs = [launch(tmp_path / size, *common, f"system.render_chunk_size={size}") for size in ("null", "1")]
    whole, chunked = (torch.load(run / "ckpts" / "last.ckpt", weights_only=True)["state_dict"] for run in runs)
    for name, value in whole.items():
        wrong = ~torch.isclose(value, chunked[name], rtol=1e-3, atol=1e-4)
        assert wrong.float().mean() < 0.005, name


def test_impossible_chunks_are_refused(tmp_path: Path, capsys: Any) -> None:
    launch(tmp_path, *TINY, "trainer.max_steps=1", "system.render_chunk_size=0", code=2)
    assert "system.render_chunk_size=0 is impossible; accepted: null or an integer" in capsys.readouterr().err
