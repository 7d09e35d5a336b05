"""Shipped files; output files are written whole, numbers that are none are refused, and a folder has one owner."""

import json
import math
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from threestudio_rsd import files
from threestudio_rsd.errors import NonFiniteError, UserError
from threestudio_rsd.files import infinities_as_text, locked_folder, whole_file, write_json, write_whole
from threestudio_rsd.runs.result_files import read_json

ROOT = Path(__file__).parents[1]


def test_an_interrupted_write_leaves_the_old_file(tmp_path) -> None:
    path = write_whole(tmp_path / "a.txt", "old")

    def write() -> None:
        with whole_file(path) as unfinished:
            unfinished.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_a_full_disk_leaves_the_old_file(tmp_path) -> None:
    path = write_whole(tmp_path / "a.txt", "old")
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, former[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_whole(path, "x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize(
    ("wrap", "key"),
    [
        (lambda x: {"diversity": {"dino": x}}, "diversity.dino"),
        (lambda x: {"answers": [1.0, x]}, "answers.1"),
        (lambda x: x, "the content"),
    ],
)
def test_json_names_the_number_that_is_none(tmp_path, wrap, key, bad) -> None:
    path = write_json(tmp_path / "metrics.json", {"old": 1})
    with pytest.raises(NonFiniteError, match=rf"metrics.json is not written: {key} is "):
        write_json(path, wrap(bad))
    assert json.loads(path.read_text()) == {"old": 1}


def enter(folder: Path) -> None:
    with locked_folder(folder, "in use by {owner}"):
        pass


def test_a_folder_has_one_owner(tmp_path) -> None:
    with locked_folder(tmp_path, ""), pytest.raises(UserError, match=f"in use by process {os.getpid()}"):
        enter(tmp_path)
    enter(tmp_path)


def test_the_lock_ends_with_its_process(tmp_path) -> None:
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom threestudio_rsd.files import locked_folder\n"
        "with locked_folder(Path(sys.argv[1]), ''):\n    print('locked', flush=True)\n    time.sleep(60)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "custom")}
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(UserError, match=f"in use by process {process.pid}"):
            enter(tmp_path)
        process.send_signal(signal.SIGKILL)
    started = time.monotonic()
    with locked_folder(tmp_path, "{owner}", wait=5):
        assert time.monotonic() - started < 5


def test_a_copy_whose_links_dangle_explains_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`cp -r custom/threestudio_rsd` copies configs and load as links, whose targets stay behind."""
    (tmp_path / "configs").symlink_to("../../configs")
    monkeypatch.setattr(files, "__file__", str(tmp_path / "files.py"))
    with pytest.raises(UserError, match=r"is a link to a folder that was not copied along; copy .* with `cp -rL`"):
        files.data_path("configs/text2image/sds.yaml")
    with pytest.raises(UserError, match="reinstall the package"):
        files.data_path("load/toyworld")


def test_settings_without_a_bound_can_be_written(tmp_path: Path) -> None:
    settings = {"interval": [0.5, math.inf], "lowest": -math.inf, "gamma": 20.0, "prompt": "an inf"}
    written = read_json(write_json(tmp_path / "settings.json", infinities_as_text(settings)))
    assert written == {"interval": [0.5, ".inf"], "lowest": "-.inf", "gamma": 20.0, "prompt": "an inf"}
    assert yaml.safe_load(written["interval"][1]) == math.inf
