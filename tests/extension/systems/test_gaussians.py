"""Text to clouds of Gaussians, through `rsd launch` on the bundled prior."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from threestudio_rsd.standalone.utils.mesh_files import HARMONIC_0

from .test_base_3d import launch

CONFIG = "configs/text2gaussians/flow-bundled.yaml"
TINY = [
    *("system.geometry.n_particles=2", "data.batch_size=2", "data.width=16", "data.height=16"),
    *("data.eval_width=16", "data.eval_height=16", "data.n_val_views=1", "data.n_test_views=2"),
    *("system.geometry.particle.n_points=40", "system.geometry.particle.max_points=60"),
    *("system.geometry.particle.densify_interval=1", "system.geometry.particle.prune_opacity=0.5"),
    *("system.geometry.particle.init_opacity=0.5", "system.geometry.particle.densify_share=0.03"),
    *("system.metrics_every=0", "system.diversity_features=[]", "system.guidance.total_steps=4"),
    *("trainer.enable_progress_bar=false", "trainer.val_check_interval=2", "checkpoint.every_n_train_steps=2"),
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: Any) -> Path:
    return launch(tmp_path_factory.mktemp("gaussians"), *TINY, "trainer.max_steps=4", config=CONFIG)


def state(trial: Path) -> dict[str, torch.Tensor]:
    return torch.load(trial / "ckpts" / "last.ckpt", weights_only=True)["state_dict"]


@pytest.mark.slow
def test_each_particle_has_a_number_of_gaussians_of_its_own(trained: Path) -> None:
    first, second = (state(trained)[f"geometry.particles.{index}.in_use"] for index in range(2))
    assert not torch.equal(first, second)
    assert int(first.sum()) != 40
    assert (trained / "save" / "it4-test-sheet.png").is_file()


@pytest.mark.slow
def test_a_resumed_run_is_bit_identical_to_an_uninterrupted_one(trained: Path, tmp_path: Path) -> None:
    half = launch(tmp_path / "half", *TINY, "trainer.max_steps=2", config=CONFIG)
    resume = f"resume={half / 'ckpts' / 'last.ckpt'}"
    rest = launch(tmp_path / "rest", *TINY, "trainer.max_steps=4", resume, config=CONFIG)
    for name, value in state(trained).items():
        assert torch.equal(value, state(rest)[name]), name


def test_the_export_has_the_gaussians_in_use(trained: Path, tmp_path: Path) -> None:
    trimesh = pytest.importorskip("trimesh")
    resume = f"resume={trained / 'ckpts' / 'last.ckpt'}"
    exported = launch(tmp_path, *TINY, resume, config=CONFIG, mode="--export") / "save" / "it4-export"
    for index in range(2):
        file = exported / f"particle_{index:02d}" / "model.ply"
        points = trimesh.load(file)
        of = {name: state(trained)[f"geometry.particles.{index}.{name}"] for name in ("in_use", "positions")}
        np.testing.assert_allclose(points.vertices, of["positions"][of["in_use"]], atol=1e-6)
        columns = points.metadata["_ply_raw"]["vertex"]["data"]
        logits = state(trained)[f"geometry.particles.{index}.color_logits"][of["in_use"]]
        red = 0.5 + HARMONIC_0 * columns["f_dc_0"].flatten()
        np.testing.assert_allclose(red, (5 * logits[:, 0]).sigmoid(), atol=1e-5)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("system.geometry.particle_type=implicit-volume", "n_points"),
        ("system.renderer.particle_type=nerf-volume-renderer", "nerf-volume-renderer cannot render a GaussianSplats"),
        ("system.renderer.particle.implementation=opengl", "implementation='opengl'"),
        ("system.renderer.particle.implementation=gsplat", "gsplat is not installed"),
        ("system.renderer.batched=true", "batched=true is impossible"),
        ("system.geometry.particle.max_points=10", "max_points=10"),
    ],
)
def test_mistakes_are_one_sentence(override: str, words: str, tmp_path: Path, capsys: Any) -> None:
    if words.startswith("gsplat"):
        try:
            import gsplat  # noqa: F401
        except ImportError:
            pass
        else:
            pytest.skip("gsplat is installed")
    launch(tmp_path, *TINY, "trainer.max_steps=1", override, config=CONFIG, code=2)
    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error
