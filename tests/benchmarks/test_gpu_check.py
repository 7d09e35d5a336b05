"""The GPU check, run on the CPU with tiny shapes."""

import json
from pathlib import Path

import pytest

from benchmarks.gpu_check import __main__ as command
from benchmarks.gpu_check import check, pack, step_costs


def results(folder: Path) -> dict:
    return json.loads((folder / "gpu_check.json").read_text())["sections"]


def run(folder: Path, *options: str) -> int:
    return command.main(["--tiny", "--device", "cpu", "--minutes", "60", "--output", str(folder), *options])


@pytest.mark.slow
def test_tiny_check_measures_every_row(tmp_path: Path) -> None:
    sections = ("exactness", "stable diffusion", "defaults", "inverse", "scenes")
    assert run(tmp_path, "--sections", *sections) == 0
    measured = results(tmp_path)
    assert list(measured) == list(sections)
    for name in sections[1:]:
        assert all("error" not in row for row in measured[name].values()), measured[name]
    assert measured["stable diffusion"]["vsd, N = 4"]["ratio"] > 0
    row = measured["defaults"]["sds, N = 4"]
    assert (row["decoder"], row["kernel"], row["refresh"]) == ("resized", "clean", 8)
    assert all(row["ok"] for row in measured["exactness"].values())
    table = (tmp_path / "gpu_check.md").read_text()
    assert "| vsd, N = 4 |" in table


@pytest.mark.slow
def test_all_rows_of_exactness_hold_on_the_cpu(tmp_path: Path) -> None:
    assert command.main(["--device", "cpu", "--output", str(tmp_path), "--sections", "exactness"]) == 0
    assert all(row.get("ok", "skipped" in row) for row in results(tmp_path)["exactness"].values())


@pytest.mark.slow
def test_tiny_runs_pass(tmp_path: Path) -> None:
    assert run(tmp_path, "--sections", "runs", "options", "precisions", "deepfloyd") == 0
    assert results(tmp_path)["runs"]["resumed and uninterrupted"]["to_the_bit"]


def test_tf32_is_off_in_the_exactness_section_only(tmp_path: Path, monkeypatch) -> None:
    seen = {}

    def row(name: str) -> tuple:
        return name, lambda: seen.update({name: check.tf32()}) or {}

    before = check.tf32()
    monkeypatch.setattr("benchmarks.gpu_check.exactness.full_precision_rows", lambda settings: iter([row("exact")]))
    monkeypatch.setattr("benchmarks.gpu_check.runs.scene_rows", lambda settings: iter([row("scene")]))
    check.set_tf32({"matmul_tf32": False, "cudnn_tf32": True})  # PyTorch's defaults
    try:
        assert check.run(check.Settings(tmp_path, "cpu", True, 60), ["exactness", "scenes"]) == 0
    finally:
        check.set_tf32(before)
    assert seen == {
        "exact": {"matmul_tf32": False, "cudnn_tf32": False},
        "scene": {"matmul_tf32": False, "cudnn_tf32": True},
    }
    assert json.loads((tmp_path / "gpu_check.json").read_text())["machine"]["cudnn_tf32"]


def test_default_steps_compute_the_force_in_one_step_of_eight(monkeypatch) -> None:
    distillation = step_costs.RepulsiveDistillation(
        step_costs.SDS(step_costs.random_prior("tiny", "cpu")), step_costs.RepulsiveForce("euclidean")
    )
    computed = []
    force = distillation.force
    distillation.force = lambda *args, **options: computed.append(1) or force(*args, **options)
    step = step_costs.step_of(distillation, 2, 5.0, step_costs.default_force().refresh)
    for _ in range(17):
        step()
    assert len(computed) == 3


def test_check_without_time_left_skips_its_rows_and_still_writes(tmp_path: Path) -> None:
    assert run(tmp_path, "--minutes", "0", "--sections", "scenes") == 0
    assert all(row == {"skipped": "no time left"} for row in results(tmp_path)["scenes"].values())


def test_row_that_fails_is_a_result_and_the_others_follow(tmp_path: Path, monkeypatch) -> None:
    def fail() -> dict:
        raise RuntimeError("no kernel | image")

    rows = [("first", fail), ("second", lambda: {"seconds": 2.0})]
    monkeypatch.setattr("benchmarks.gpu_check.runs.scene_rows", lambda settings: iter(rows))
    assert check.run(check.Settings(tmp_path, "cpu", True, 60), ["scenes"]) == 1
    measured = results(tmp_path)["scenes"]
    assert measured["first"]["error"].startswith("RuntimeError: no kernel")
    assert measured["second"] == {"seconds": 2.0}
    assert "no kernel / image" in (tmp_path / "gpu_check.md").read_text()


def test_missing_packages_without_wheels_are_named(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(command, "NEEDED", ("no_such_package",))
    with pytest.raises(SystemExit, match="no_such_package missing"):
        command.install_missing(tmp_path, tmp_path)


def test_packed_wheels_stay_below_the_limit(tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "a.whl").write_bytes(b"0" * 2**20)
    assert pack.check_size(tmp_path) == 0
    monkeypatch.setattr(pack, "LIMIT", 2**19)
    assert pack.check_size(tmp_path) == 1
    assert "1.0 MiB  a.whl" in capsys.readouterr().out
    assert pack.with_version("numpy").startswith("numpy==")
