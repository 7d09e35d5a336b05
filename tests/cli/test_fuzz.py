"""Every mistake on a command line or in a result folder is explained: exit code 0 or 2, and one sentence.

The cases are the same in every run. `python -m pytest -m long tests/cli/test_fuzz.py` runs 5,000.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from .damage import damage, damages, make_folders
from .fuzzing import check, command_lines, launches, prepare_workplace, stop_before_work

FIXED = {
    "deadline": None,
    "database": None,
    "derandomize": False,  # `seed` fixes the cases, also across versions of this file
    "phases": [Phase.generate],
    "suppress_health_check": list(HealthCheck),
}


@pytest.fixture(scope="module", autouse=True)
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Working directory with files of every bad kind; what takes long is replaced."""
    folder = tmp_path_factory.mktemp("fuzz")
    prepare_workplace(folder)
    (folder / "whole").mkdir()
    make_folders(folder / "whole")
    before = Path.cwd()
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("HOME", str(folder / "folder"))
        stop_before_work(monkeypatch)
        os.chdir(folder)
        yield folder
        os.chdir(before)


def launch_with_odd_values(cases: int, number: int) -> None:
    @seed(number)
    @settings(max_examples=cases, **FIXED)
    @given(launches())
    def run(line: list[str]) -> None:
        check(line)

    run()


def any_command(cases: int, number: int) -> None:
    @seed(number)
    @settings(max_examples=cases, **FIXED)
    @given(command_lines())
    def run(line: list[str]) -> None:
        check(line)

    run()


def damaged_folders(cases: int, number: int, folder: Path) -> None:
    @seed(number)
    @settings(max_examples=cases, **FIXED)
    @given(st.data(), damages(folder / "whole"))
    def run(data: st.DataObject, chosen: tuple[str, list[str], str]) -> None:
        name, files, kind = chosen
        shutil.rmtree(folder / "copy", ignore_errors=True)
        shutil.copytree(folder / "whole" / name.split("/")[0], folder / "copy" / name.split("/")[0])
        for file in dict.fromkeys(files):
            damage(folder / "copy" / file, kind, data.draw)
        target = f"copy/{name}"
        check(["evaluate", target, "--device", "cpu"])
        if name != "images":
            check(["report", target])
        if name == "sweep":
            config = "configs/text2image/sds.yaml"
            grid = ["--gamma", "0,10", "--seeds", "0:2", "--prompts", "whole/prompts.txt"]
            check(["sweep", "--config", config, *grid, "--output", target, "--list"])

    run()


@pytest.mark.slow
def test_launch_with_odd_values() -> None:
    launch_with_odd_values(30, 1)


@pytest.mark.parametrize("cases", [40, pytest.param(120, marks=pytest.mark.slow)])
def test_any_command_with_odd_values(cases: int) -> None:
    any_command(cases, 1)


@pytest.mark.slow
def test_damaged_result_folders(workplace: Path) -> None:
    damaged_folders(60, 1, workplace)


@pytest.mark.long
def test_thousands_of_cases(workplace: Path) -> None:
    launch_with_odd_values(2000, 2)
    any_command(2000, 2)
    damaged_folders(1000, 2, workplace)
