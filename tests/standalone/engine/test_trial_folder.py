"""A trial folder belongs to one run, its results are not overwritten in silence, and a full disk loses nothing."""

import contextlib
import resource
from pathlib import Path

import pytest
import torch
from threestudio_rsd.files import locked_folder
from threestudio_rsd.standalone.engine import trial_folder
from threestudio_rsd.standalone.utils import experiment

from .test_launch import TRIAL, last

RUN = "outputs/toy/run"


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def test_a_finished_run_is_not_overwritten(rsd, workplace):
    rsd("train", *TRIAL)
    before = content(RUN)
    code, shown = rsd("train", *TRIAL, "seed=1")
    assert code == 2
    assert "outputs/toy/run holds the run of outputs/toy/run/ckpts/" in shown
    assert "--overwrite" in shown
    assert content(RUN) == before


def test_results_without_checkpoints_are_not_overwritten(rsd, workplace):
    (workplace / RUN / "save").mkdir(parents=True)
    (workplace / RUN / "save/metrics.json").write_text("{}")
    code, shown = rsd("train", *TRIAL)
    assert code == 2
    assert "holds the results outputs/toy/run/save/metrics.json" in shown


def test_overwrite_replaces_the_whole_run(rsd, workplace):
    rsd("train", *TRIAL)
    (workplace / RUN / "notes.txt").write_text("of the user")
    code, _ = rsd("train", *TRIAL, "seed=1", "trainer.max_steps=2", "--overwrite")
    assert code == 0
    names = {path.name for path in (workplace / RUN).rglob("*") if path.is_file()}
    assert {"notes.txt", "it2-val.png", "last.ckpt"} <= names
    assert not names & {"it4-val.png", "epoch=0-step=3.ckpt"}
    assert last(workplace / RUN)["global_step"] == 2


def test_a_mistake_with_overwrite_removes_nothing(rsd, workplace):
    rsd("train", *TRIAL)
    before = content(RUN)
    assert rsd("train", *TRIAL, "--overwrite", "system.optimizer.name=Adamm")[0] == 2
    assert content(RUN) == before


def test_an_evaluation_of_another_run_does_not_write_into_this_one(rsd, workplace):
    rsd("train", *TRIAL)
    rsd("train", "tag=other", "use_timestamp=false")
    before = content(RUN)
    code, _ = rsd("test", *TRIAL, "resume=outputs/toy/other/ckpts/last.ckpt")
    assert code == 2
    assert content(RUN) == before
    assert rsd("test", *TRIAL, f"resume={RUN}/ckpts/last.ckpt")[0] == 0


def test_a_folder_in_use_is_left_alone(rsd, workplace, monkeypatch):
    monkeypatch.setattr(trial_folder, "WAIT", 0.0)
    (workplace / RUN).mkdir(parents=True)
    with locked_folder(workplace / RUN, ""):
        code, shown = rsd("train", *TRIAL)
    assert code == 2
    assert "outputs/toy/run is in use by another run (process " in shown
    assert not (workplace / RUN / "configs").exists()


def test_runs_of_the_same_second_have_folders_of_their_own(rsd, workplace, monkeypatch):
    class Clock(experiment.datetime):
        @classmethod
        def now(cls):
            return cls(2024, 1, 31, 23, 59, 59)

    monkeypatch.setattr(experiment, "datetime", Clock)
    for _ in range(3):
        assert rsd("train", "tag=run", "trainer.max_steps=1")[0] == 0
    folders = sorted((workplace / "outputs/toy").iterdir())
    assert [folder.name for folder in folders] == [f"run@20240131-235959{end}" for end in ("", "-1", "-2")]
    for folder in folders:
        assert last(folder)["global_step"] == 1
        assert (folder / "csv_logs/version_0/metrics.csv").is_file()
        assert (folder / "save/points.json").is_file()
        assert f"trial_dir: outputs/toy/{folder.name}\n" in (folder / "configs/parsed.yaml").read_text()


def test_a_run_that_was_killed_while_it_wrote_its_first_checkpoint_starts_again(rsd, workplace):
    (workplace / RUN / "ckpts").mkdir(parents=True)
    (workplace / RUN / "ckpts" / "last.123.part.ckpt").write_bytes(b"")
    assert rsd("train", *TRIAL)[0] == 0
    assert {path.name for path in (workplace / RUN / "ckpts").iterdir()} >= {"last.ckpt"}
    assert not list((workplace / RUN / "ckpts").glob("*.part*"))


def test_leftovers_of_a_killed_process_are_removed(rsd, workplace):
    (workplace / RUN / "ckpts").mkdir(parents=True)
    (workplace / RUN / "ckpts/last.ckpt.123.part").write_bytes(b"half")
    rsd("train", *TRIAL, "trainer.max_steps=1")
    assert not list((workplace / RUN).rglob("*.part"))


@contextlib.contextmanager
def full_disk(n_bytes):
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)


SLOW = pytest.mark.slow


@pytest.mark.parametrize("n_bytes", [0, 600, *(pytest.param(n, marks=SLOW) for n in (20, 100, 300, 2000, 6000))])
def test_a_full_disk_says_so_and_keeps_the_last_checkpoint(rsd, workplace, n_bytes):
    rsd("train", *TRIAL, "trainer.max_steps=3")
    before = (workplace / RUN / "ckpts/last.ckpt").read_bytes()
    with full_disk(n_bytes):
        code, shown = rsd("train", *TRIAL, "trainer.max_steps=6", f"resume={RUN}/ckpts/last.ckpt")
    assert code == 2
    assert "Traceback" not in shown
    assert "File too large" in shown or "cannot be written" in shown
    assert (workplace / RUN / "ckpts/last.ckpt").read_bytes() == before
    assert not list((workplace / RUN).rglob("*.part"))
    code, _ = rsd("train", *TRIAL, "trainer.max_steps=6", f"resume={RUN}/ckpts/last.ckpt")
    assert code == 0
    assert torch.isfinite(last(workplace / RUN)["state_dict"]["points"]).all()


@pytest.mark.parametrize("name", ["ckpts", "save", "configs"])
def test_what_stands_in_the_way_is_named_before_the_run(rsd, workplace, name):
    (workplace / RUN).mkdir(parents=True)
    (workplace / RUN / name).write_text("a file")
    code, shown = rsd("train", *TRIAL)
    assert code == 2
    assert f"outputs/toy/run/{name} is not a writable folder" in shown
