"""`rsd launch` on two devices, against one."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import threestudio_rsd
import torch
from threestudio_rsd.cli.main import main

pytestmark = pytest.mark.slow

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(threestudio_rsd.__file__).parents[1])}
TWO = ["trainer.devices=2", "trainer.accelerator=cpu"]
COMMON = [
    "use_timestamp=false",
    "name=r",
    "trainer.enable_progress_bar=false",
    "trainer.log_every_n_steps=1",
    "trainer.val_check_interval=2",
    "system.guidance.total_steps=4",
    "system.metrics_every=2",
    "system.diversity_features=[dino]",
]
IMAGES = ["system.particles.n_particles=3", "system.guidance.repulsion_refresh=2"]
SCENES = [
    "system.geometry.n_particles=3",
    "data.batch_size=6",
    "data.width=16",
    "data.height=16",
    "data.eval_width=16",
    "data.eval_height=16",
    "data.n_val_views=1",
    "data.n_test_views=2",
    "system.geometry.particle.pos_encoding_config.n_levels=2",
    "system.renderer.particle.num_samples_per_ray=16",
    "system.renderer.random_by_particle=true",
]
RUNS = {
    "images": ("text2image/vsd.yaml", IMAGES, "system.guidance.gamma=20"),
    "scenes": ("text2nerf/dreamfusion-bundled.yaml", SCENES, "system.loss.lambda_opaque=1"),
}


def arguments(kind: str, folder: Path, tag: str, *overrides: str, steps: int = 2, mode: str = "--train") -> list[str]:
    config, common, loss = RUNS[kind]
    fixed = [f"exp_root_dir={folder}", f"tag={tag}", f"trainer.max_steps={steps}"]
    return ["launch", "--config", f"configs/{config}", mode, *fixed, *COMMON, *common, loss, *overrides]


def checkpoint(folder: Path, tag: str) -> dict:
    return torch.load(folder / "r" / tag / "ckpts" / "last.ckpt", weights_only=True)


def tensors(state: Any) -> Iterator[torch.Tensor]:
    """Tensors of nested dicts, by sorted keys."""
    if isinstance(state, dict):
        for key in sorted(state, key=str):
            yield from tensors(state[key])
    elif isinstance(state, torch.Tensor):
        yield state


def assert_close(folder: Path, one: str, other: str) -> None:
    """Same checkpoints up to rounding."""
    first, second = checkpoint(folder, one), checkpoint(folder, other)
    assert first["global_step"] == second["global_step"]
    assert first["state_dict"].keys() == second["state_dict"].keys()
    for value, again in zip(tensors(first["state_dict"]), tensors(second["state_dict"]), strict=True):
        # Adam makes a full step of a gradient of rounding errors, where an entry of a hash grid is hardly seen.
        wrong = ~torch.isclose(value, again, rtol=1e-3, atol=1e-4)
        assert wrong.float().mean() < 0.02
    (optimizer,), (again,) = first["optimizer_states"], second["optimizer_states"]
    assert optimizer["param_groups"] == again["param_groups"]
    assert optimizer["state"].keys() == again["state"].keys()
    assert first["run_cost"]["network_calls"] == second["run_cost"]["network_calls"]


def files(folder: Path) -> set[str]:
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return {name for name in found if "events" not in name}


@pytest.mark.parametrize("kind", RUNS)
def test_two_devices_equal_one_and_continue_each_other(kind: str, tmp_path: Path) -> None:
    assert main(arguments(kind, tmp_path, "one")) == 0
    assert main(arguments(kind, tmp_path, "two", *TWO)) == 0
    assert_close(tmp_path, "one", "two")
    assert files(tmp_path / "r" / "one") == files(tmp_path / "r" / "two")
    metrics = [json.loads((tmp_path / "r" / tag / "save" / "metrics.json").read_text()) for tag in ("one", "two")]
    assert metrics[0]["n_particles"] == metrics[1]["n_particles"] == 3
    assert metrics[0]["diversity"]["dino"] == pytest.approx(metrics[1]["diversity"]["dino"], abs=1e-2)
    assert not torch.distributed.is_initialized()
    assert "LOCAL_RANK" not in os.environ
    resume = [f"resume={tmp_path}/r/{tag}/ckpts/last.ckpt" for tag in ("one", "two")]
    assert main(arguments(kind, tmp_path, "two", resume[1], steps=3)) == 0
    assert main(arguments(kind, tmp_path, "one", resume[0], *TWO, steps=3)) == 0
    assert_close(tmp_path, "one", "two")


@pytest.mark.parametrize(
    ("config", "overrides", "sentence"),
    [
        ("sds", ["system.particles.n_particles=1", *TWO], "give 2 processes for 1 particles"),
        ("sds", ["system.guidance.features=nonsense", *TWO], "nonsense"),
        ("svgd", TWO, "SVGDGuidance runs on one device"),
        ("ancestral", TWO, "runs on one device"),
    ],
)
def test_mistakes_are_one_sentence(config: str, overrides: list[str], sentence: str, tmp_path: Path) -> None:
    command = ["launch", "--config", f"configs/text2image/{config}.yaml", "--train", f"exp_root_dir={tmp_path}"]
    done = run([*command, *overrides])
    assert done.returncode == 2
    assert done.stderr.count("rsd: error:") == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_rank_that_dies_ends_the_run(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "threestudio_rsd.cli", *arguments("images", tmp_path, "t", *TWO, steps=10000)],
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        text=True,
    )
    curves = tmp_path / "r" / "t" / "csv_logs" / "version_0" / "metrics.csv"
    deadline = time.monotonic() + 240
    while not curves.is_file() and time.monotonic() < deadline:
        time.sleep(0.2)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    _, shown = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "The process of rank 1 was ended by SIGKILL" in shown
    assert shown.count("rsd: error:") == 1


def run(arguments: list[str]) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "threestudio_rsd.cli", *arguments]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False)
