"""Processes that end with their parent, and programs that Ctrl-C ends without a traceback."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from threestudio_rsd.process_map import process_map
from threestudio_rsd.signals import Stopped, accepted_signals

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "custom"), str(ROOT)])}


def is_running(pid: int) -> bool:
    """Whether a process runs; one that has ended but was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for_end(pid: int, seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not is_running(pid)


PARENT = """
import signal, subprocess, sys, time
from threestudio_rsd.signals import end_with_parent
set_up = end_with_parent({number})
child = subprocess.Popen([sys.executable, "-c", {program!r}], preexec_fn=set_up, stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""
CHILD = """
import pathlib, signal, sys, time
def end(*_):
    pathlib.Path({file!r}).write_text("saved")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has ended")
def test_a_child_saves_and_ends_when_its_parent_is_killed(tmp_path) -> None:
    file = tmp_path / "state"
    text = PARENT.format(program=CHILD.format(file=str(file)), number=int(signal.SIGTERM))
    with subprocess.Popen([sys.executable, "-c", text], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as parent:
        child = int(parent.stdout.readline())
        parent.kill()
    assert wait_for_end(child)
    assert file.read_text() == "saved"


POOL = """
import os, sys
from threestudio_rsd.process_map import process_map
from tests.test_signals import report_and_sleep
if __name__ == "__main__":
    process_map(report_and_sleep, [sys.argv[1]] * 2, workers=2)
"""


def report_and_sleep(folder: str) -> None:
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(60)


@pytest.mark.long
def test_the_workers_of_a_pool_end_when_their_program_is_killed(tmp_path) -> None:
    program = tmp_path / "main.py"
    program.write_text(POOL)
    folder = tmp_path / "pids"
    folder.mkdir()
    with subprocess.Popen([sys.executable, str(program), str(folder)], env=ENVIRONMENT) as parent:
        deadline = time.monotonic() + 120
        while len(list(folder.iterdir())) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        parent.kill()
    workers = [int(file.name) for file in folder.iterdir()]
    assert len(workers) == 2
    assert all(wait_for_end(worker) for worker in workers)


def test_a_pool_of_one_is_this_process() -> None:
    assert process_map(len, ["a", "bc"], workers=1) == [1, 2]


def test_ignored_signals_stay_ignored() -> None:
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        assert signal.SIGHUP not in accepted_signals()
        assert signal.SIGTERM in accepted_signals()
    finally:
        signal.signal(signal.SIGHUP, former)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_exit_codes_are_those_of_a_shell(number, code) -> None:
    assert Stopped(number).exit_code == code


INTERRUPTED_AT_IMPORT = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts programs with `&` with SIGINT ignored
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "threestudio_rsd.cli.{module}":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
sys.argv = ["rsd", "--help"]
import runpy
runpy.run_module("threestudio_rsd.cli", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("module", ["main", "toyworld"])
def test_ctrl_c_while_the_command_is_loaded_is_one_line(module) -> None:
    program = INTERRUPTED_AT_IMPORT.format(module=module)
    process = subprocess.run(
        [sys.executable, "-c", program], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert process.stderr == "rsd: interrupted\n"
    assert process.returncode in (130, -signal.SIGINT)
