"""`rsd launch` on a toy system: outputs, checkpoints, resuming, interruption."""

import json

import pytest
import torch
from threestudio_rsd.standalone.engine.checkpoints import WholeFiles

TRIAL = ("tag=run", "use_timestamp=false")


def last(trial):
    return torch.load(trial / "ckpts" / "last.ckpt", weights_only=True)


@pytest.fixture
def trained(rsd, workplace):
    code, _ = rsd("train", *TRIAL)
    assert code == 0
    return workplace / "outputs" / "toy" / "run"


def test_training_leaves_threestudios_folder_layout(trained):
    files = {path.relative_to(trained).as_posix() for path in trained.rglob("*") if path.is_file()}
    assert files >= {
        "cmd.txt",
        "configs/raw.yaml",
        "configs/parsed.yaml",
        "csv_logs/version_0/metrics.csv",
        "ckpts/last.ckpt",
        "ckpts/epoch=0-step=3.ckpt",
        "ckpts/epoch=0-step=6.ckpt",
        "save/it2-val.png",
        "save/it4-val.png",
        "save/it6-val.png",
        "save/points.json",
    }
    assert any(name.startswith("tb_logs/version_0/events") for name in files)
    assert not any(name.endswith(".part") for name in files)
    assert (trained / "cmd.txt").read_text() == "rsd launch --config toy.yaml --train tag=run use_timestamp=false\n"
    assert "train/loss" in (trained / "csv_logs/version_0/metrics.csv").read_text()
    assert last(trained)["global_step"] == 6


def test_training_ends_with_a_test(trained):
    assert json.loads((trained / "save/points.json").read_text())["step"] == 6


def test_progress_shows_steps_and_their_rate(rsd):
    _, shown = rsd("train", *TRIAL)
    assert "6/6" in shown
    assert "step/s" in shown
    assert "train/loss=" in shown


def test_half_precision_falls_back_without_a_gpu(rsd):
    _, shown = rsd("train", *TRIAL, "trainer.accelerator=cpu", "trainer.max_steps=1")
    assert "trainer.precision=16-mixed needs a GPU" in shown


def test_libraries_are_quiet(rsd, recwarn):
    _, shown = rsd("train", *TRIAL)
    assert "workers" not in shown
    assert "Warning" not in shown


@pytest.mark.parametrize(
    ("mode", "name"), [("test", "points.json"), ("validate", "it6-val.png"), ("export", "points.npy")]
)
def test_evaluation_from_a_checkpoint(rsd, trained, workplace, mode, name):
    code, _ = rsd(mode, "tag=again", "use_timestamp=false", f"resume={trained}/ckpts/last.ckpt")
    assert code == 0
    again = workplace / "outputs" / "toy" / "again"
    assert {path.name for path in again.rglob("*") if path.is_file()} == {name, ".lock"}
    if mode == "test":
        assert (again / "save" / name).read_text() == (trained / "save" / name).read_text()


def test_evaluation_without_a_checkpoint_warns(rsd):
    code, shown = rsd("test", *TRIAL)
    assert code == 0
    assert "not trained" in shown


def assert_same_state(one, other):
    (optimizer,), (other_optimizer,) = one["optimizer_states"], other["optimizer_states"]
    assert optimizer["param_groups"] == other_optimizer["param_groups"]
    for value, expected in (
        (one["state_dict"], other["state_dict"]),
        (optimizer["state"], other_optimizer["state"]),
        (one["global_step"], other["global_step"]),
    ):
        torch.testing.assert_close(value, expected, rtol=0, atol=0)
    assert torch.equal(one["callbacks"]["RandomState"]["torch"], other["callbacks"]["RandomState"]["torch"])


@pytest.mark.parametrize("stop", [1, 2, 3, 4, 5])
def test_resumed_equals_uninterrupted(rsd, trained, workplace, stop):
    """Validation happens at steps 2 and 4, saving at step 3, and neither at 1 and 5."""
    rsd("train", "tag=part", "use_timestamp=false", f"trainer.max_steps={stop}")
    part = workplace / "outputs" / "toy" / "part"
    assert last(part)["global_step"] == stop
    code, shown = rsd(
        "train", f"resume={part}/ckpts/last.ckpt", "trainer.max_steps=6", config=part / "configs/parsed.yaml"
    )
    assert code == 0
    assert "6/6" in shown
    assert_same_state(last(part), last(trained))
    assert (part / "save/points.json").read_text() == (trained / "save/points.json").read_text()
    assert not (part / "ckpts/last-v1.ckpt").exists()


def test_interrupted_run_saves_its_step_and_can_be_resumed(rsd, trained, workplace):
    code, shown = rsd("train", "tag=part", "use_timestamp=false", "system.interrupt_at=4")
    part = workplace / "outputs" / "toy" / "part"
    assert code == 130
    assert "Saved step 5" in shown
    assert last(part)["global_step"] == 5
    assert not (part / "save/points.json").exists()
    rsd("train", f"resume={part}/ckpts/last.ckpt", config=part / "configs/parsed.yaml")
    assert_same_state(last(part), last(trained))


def test_failed_write_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    WholeFiles().save_checkpoint({"step": 1}, path)

    def full_disk(checkpoint, target):
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(ValueError, match=r"cannot be written: .*No space left"):
        WholeFiles().save_checkpoint({"step": 2}, path)
    assert torch.load(path, weights_only=True) == {"step": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_seed_decides_the_run(rsd, workplace):
    for tag, seed in (("a", 1), ("b", 1), ("c", 2)):
        rsd("train", f"tag={tag}", "use_timestamp=false", f"seed={seed}", "trainer.max_steps=2")
    points = [(workplace / "outputs/toy" / tag / "save/points.json").read_text() for tag in "abc"]
    assert points[0] == points[1] != points[2]
