"""Damaged files in result folders: one sentence that names the file."""

import json
from pathlib import Path

import pytest
from threestudio_rsd.errors import UserError
from threestudio_rsd.runs.result_files import read_config, read_json, read_metrics
from threestudio_rsd.runs.trial import read_logs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("save", "configs", "csv_logs/version_0"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "JSONDecodeError"),
        (b"\xff", "UnicodeDecodeError"),
        (b"[]", "it is no object"),
        (b"[" * 10**5, "RecursionError"),
        (b'{"steps": ' + b"9" * 5000 + b"}", "ValueError"),
        (b'{"prompt": 3}', "prompt is 3, not a text"),
        (b'{"n_particles": true}', "n_particles is True, not an integer"),
        (b'{"mean": [1]}', "mean is .1., not an object"),
        (b'{"diversity": {"dino": -Infinity}}', "diversity.dino is -inf"),
        (b'{"psnr": 1e999}', "psnr is inf"),
        (b'{"prompt": "\\ud800"}', "UnicodeEncodeError"),
    ],
)
def test_damaged_metrics_raise(content: bytes, words: str, folder: Path) -> None:
    (folder / "save" / "metrics.json").write_bytes(content)
    with pytest.raises(
        UserError, match=rf"save/metrics\.json' is damaged \({words}.*\); remove it, or make it again\."
    ):
        read_metrics(folder)


def test_missing_files_are_no_damage(folder: Path) -> None:
    assert read_metrics(folder) is None
    assert read_config(folder) == {}
    assert read_logs(folder / "csv_logs") == {}


@pytest.mark.parametrize(
    "content", [b"a: [", b"\xff", b"- 1", b"a: &a [*a]", b"a: " + b"9" * 5000, b"[" * 10**4, b'a: "\\ud800"']
)
def test_damaged_configs_raise(content: bytes, folder: Path) -> None:
    (folder / "configs" / "parsed.yaml").write_bytes(content)
    with pytest.raises(UserError, match=r"parsed\.yaml' is damaged"):
        read_config(folder)


def test_configs_are_read_without_the_escapes_of_literal_texts(folder: Path) -> None:
    (folder / "configs" / "parsed.yaml").write_text("a: {b: 'costs \\${x}'}")
    assert read_config(folder) == {"a.b": "costs ${x}"}


@pytest.mark.parametrize("row", ["x,1", "1,x", ",2"])
def test_damaged_logs_raise(row: str, folder: Path) -> None:
    (folder / "csv_logs" / "version_0" / "metrics.csv").write_text(f"step,train/loss\n{row}\n")
    with pytest.raises(UserError, match=r"version_0/metrics\.csv' is damaged"):
        read_logs(folder / "csv_logs")


def test_whole_files_are_read(folder: Path) -> None:
    metrics = {"prompt": "a car", "steps": 3, "mean": {"psnr": 20.0}, "views": None}
    (folder / "save" / "metrics.json").write_text(json.dumps(metrics))
    assert read_metrics(folder) == metrics
    assert read_json(folder / "save" / "metrics.json") == metrics
