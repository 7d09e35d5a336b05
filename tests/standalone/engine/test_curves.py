"""Curves are in one file, are on the disk at once, and are those of an uninterrupted run."""

import csv
import random

import pytest
from threestudio_rsd.standalone.engine.curves import FILE, CurveLogger

from .test_launch import TRIAL


def rows(folder):
    with (folder / FILE).open(newline="") as file:
        return [{name: value for name, value in row.items() if value} for row in csv.DictReader(file)]


def values(folder):
    """Rows with values of the run; Lightning 2.0 counts steps anew for its own learning rates after a resume."""
    logged = [{name: value for name, value in row.items() if not name.startswith("lr-")} for row in rows(folder)]
    return [row for row in logged if row.keys() - {"step", "epoch"}]


def test_each_row_is_on_the_disk_at_once(tmp_path):
    logger = CurveLogger(str(tmp_path))
    logger.log_metrics({"train/loss": 1.0}, 0)
    assert rows(tmp_path) == [{"step": "0", "train/loss": "1.0"}]
    logger.log_metrics({"train/loss": 0.5, "train/diversity_dino": 0.25}, 1)
    assert rows(tmp_path)[1] == {"step": "1", "train/loss": "0.5", "train/diversity_dino": "0.25"}


@pytest.mark.parametrize("cut", [0, 3, 10])
def test_a_killed_run_goes_on_after_its_checkpoint(tmp_path, cut):
    """The process is killed while it writes the last row; the checkpoint is of step 5."""
    logger = CurveLogger(str(tmp_path))
    for step in range(8):
        logger.log_metrics({"train/loss": float(step)}, step)
    text = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(text[: len(text) - cut])
    logger = CurveLogger(str(tmp_path), first_step=5)
    for step in range(5, 9):
        logger.log_metrics({"train/loss": float(step), "train/new": 0.0}, step)
    assert [row["step"] for row in rows(tmp_path)] == [str(step) for step in range(9)]
    assert [float(row["train/loss"]) for row in rows(tmp_path)] == list(range(9))


def test_any_bytes_may_be_in_the_file(tmp_path):
    for seed in range(20):
        path = tmp_path / FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.Random(seed).randbytes(300).replace(b"\0", b""))
        CurveLogger(str(tmp_path), first_step=5).log_metrics({"train/loss": 1.0}, 5)
        assert rows(tmp_path)[-1] == {"step": "5", "train/loss": "1.0"}


def test_a_new_run_begins_a_new_file(tmp_path):
    CurveLogger(str(tmp_path)).log_metrics({"train/loss": 1.0}, 3)
    CurveLogger(str(tmp_path)).log_metrics({"train/loss": 2.0}, 0)
    assert rows(tmp_path) == [{"step": "0", "train/loss": "2.0"}]


@pytest.mark.parametrize(("stop", "every"), [(1, 2), (2, 1), (3, 1), (4, 2)])
def test_a_resumed_run_has_the_curves_of_an_uninterrupted_one(rsd, workplace, stop, every):
    settings = ("use_timestamp=false", f"trainer.log_every_n_steps={every}")
    rsd("train", *TRIAL, *settings)
    rsd("train", "tag=part", *settings, f"system.interrupt_at={stop - 1}")
    part, whole = workplace / "outputs/toy/part", workplace / "outputs/toy/run"
    rsd("train", f"resume={part}/ckpts/last.ckpt", config=part / "configs/parsed.yaml")
    assert values(part) == values(whole)
    assert [path.name for path in (part / "csv_logs").iterdir()] == ["version_0"]
    assert [path.name for path in (part / "tb_logs").iterdir()] == ["version_0"]
