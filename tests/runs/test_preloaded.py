"""Forks do what `python -m` does. The server of this process imports nothing; a process of its own tries a full one."""

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from threestudio_rsd.runs import preloaded
from threestudio_rsd.runs.preloaded import PRELOADED, Fork

ROOT = Path(__file__).parents[2]
CONFIG = "configs/text2image/sds.yaml"
WHAT_IT_IS = """
import atexit, os, signal, sys
import __main__
print(__name__, __main__.__spec__.name, sys.argv[1:], os.getcwd(), os.environ.get("A_KEY"), os.environ.get("HOME"))
print(repr(sys.stdin.read()), os.getsid(0) == os.getpid(), signal.getsignal(signal.SIGINT).__name__)
print(signal.pthread_sigmask(signal.SIG_BLOCK, []), flush=True)
os.system("echo of another program; echo and its errors >&2")
atexit.register(print, "at the end")
sys.exit(3)
"""


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start a program's text as a fork of an empty server; the output goes to log.txt."""
    monkeypatch.setattr(preloaded, "PRELOADED", [])
    monkeypatch.syspath_prepend(tmp_path)
    started = []

    def start(text: str, *arguments: str, **environment: str) -> Fork:
        name = f"program_{len(started)}"
        (tmp_path / f"{name}.py").write_text(text)
        started.append(Fork([sys.executable, "-m", name, *arguments], tmp_path / "log.txt", environment))
        return started[-1]

    yield start
    for each in started:
        each.send_signal(signal.SIGKILL)


def code_of(fork: Fork) -> int:
    deadline = time.monotonic() + 30
    while (code := fork.poll()) is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert code is not None
    return code


def test_a_fork_is_the_process_that_its_command_would_start(start, tmp_path, monkeypatch) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (tmp_path / "log.txt").write_text("before\n")
    assert code_of(start(WHAT_IT_IS, "a b", A_KEY="its value")) == 3
    assert (tmp_path / "log.txt").read_text().splitlines() == [
        "before",
        f"__main__ program_0 ['a b'] {folder} its value None",
        "'' True default_int_handler",
        "set()",
        "of another program",
        "and its errors",
        "at the end",
    ]


@pytest.mark.parametrize(
    ("text", "code", "printed"),
    [
        ("", 0, ""),
        ("raise ValueError('a mistake')", 1, "ValueError: a mistake\n"),
        ("import os\nos.kill(os.getpid(), 11)", -11, ""),
        ("this is no Python", 1, "SyntaxError: invalid syntax\n"),
    ],
)
def test_exit_codes_and_errors(start, text, code, printed, tmp_path) -> None:
    assert code_of(start(text)) == code
    assert (tmp_path / "log.txt").read_text().endswith(printed)


def test_ctrl_c_is_not_lost_while_a_fork_starts(start, tmp_path) -> None:
    fork = start("import time\ntime.sleep(20)")
    os.kill(fork.pid, signal.SIGINT)
    assert code_of(fork) == 1
    assert (tmp_path / "log.txt").read_text().endswith("KeyboardInterrupt\n")


def test_the_server_hears_no_signal_of_the_terminal(start) -> None:
    fork = start("import time\ntime.sleep(0.5)")
    for each in preloaded.HELD:
        os.kill(_server(), each)
    assert code_of(fork) == 0


def _server() -> int:
    return preloaded.running_server({}).pid


def test_a_server_ends_with_the_program_that_was_killed(tmp_path) -> None:
    program = tmp_path / "main.py"  # without a guard, and started once all the same
    program.write_text(
        "import os, pathlib, time\n"
        "from threestudio_rsd.runs import preloaded\n"
        "preloaded.PRELOADED = []\n"
        "fork = preloaded.Fork(['python', '-m', 'this'], pathlib.Path('log.txt'), os.environ)\n"
        "while fork.poll() is None: time.sleep(0.02)\n"
        "print(preloaded.running_server({}).pid, fork.poll(), flush=True)\n"
        "time.sleep(60)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "custom")}
    with subprocess.Popen(
        [sys.executable, str(program)], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        server, code = map(int, process.stdout.readline().split())
        process.kill()
    assert code == 0
    deadline = time.monotonic() + 20
    while _alive(server) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(server)


def test_a_server_outlives_the_thread_that_started_it(start) -> None:
    preloaded._servers.clear()  # the next fork starts a server
    forks = []
    thread = threading.Thread(target=lambda: forks.append(start("import time\ntime.sleep(0.5)")))
    thread.start()
    thread.join()
    time.sleep(0.1)  # Linux sends the signal that a parent has ended when the starting thread ends
    assert code_of(forks[0]) == 0
    assert code_of(start("pass")) == 0


SAVES = """
import pathlib, signal, sys, time
def save(number, frame):
    pathlib.Path("saved.txt").write_text(str(number))
    sys.exit(128 + number)
signal.signal(signal.SIGTERM, save)
pathlib.Path("begun.txt").touch()
time.sleep(60)
"""


def test_a_fork_saves_and_ends_when_its_program_is_killed(tmp_path) -> None:
    (tmp_path / "saves.py").write_text(SAVES)
    program = tmp_path / "main.py"
    program.write_text(
        "import os, pathlib, time\n"
        "from threestudio_rsd.runs import preloaded\n"
        "preloaded.PRELOADED = []\n"
        "fork = preloaded.Fork(['python', '-m', 'saves'], pathlib.Path('log.txt'), os.environ)\n"
        "while not pathlib.Path('begun.txt').exists(): time.sleep(0.02)\n"
        "print(fork.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "custom"), str(tmp_path)])}
    with subprocess.Popen(
        [sys.executable, str(program)], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        fork = int(process.stdout.readline())
        process.kill()
    deadline = time.monotonic() + 20
    while _alive(fork) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(fork)
    assert (tmp_path / "saved.txt").read_text() == str(int(signal.SIGTERM))


def _alive(pid: int) -> bool:
    """Test whether a process runs; a process that has ended but was not waited for does not run."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


PRELOAD = f"""
import importlib, os, sys
import torch
asked = []
torch.cuda._lazy_init = lambda: asked.append("CUDA")
for name in {PRELOADED}:
    importlib.import_module(name)
import tqdm
print(asked, len(os.listdir("/proc/self/task")), hasattr(tqdm.tqdm, "_lock"), "threestudio_rsd.cli" in sys.modules)
"""


@pytest.mark.slow
def test_what_is_preloaded_starts_no_cuda_no_threads_and_holds_no_lock() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "custom"), "OMP_NUM_THREADS": "1"}
    process = subprocess.run(
        [sys.executable, "-c", PRELOAD], env=environment, capture_output=True, text=True, check=True
    )
    assert process.stdout == "[] 1 False False\n"


@pytest.mark.slow
@pytest.mark.parametrize("threads", ["1", "2"])
def test_a_run_computes_what_its_command_does(tmp_path, threads) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "custom"),
        "OMP_NUM_THREADS": threads,
        "CUDA_VISIBLE_DEVICES": "",
    }
    sweep = [sys.executable, "-m", "threestudio_rsd.cli", "sweep", "--config", CONFIG, "--no-check", "--seeds", "3:5"]
    sweep += [
        "--gamma",
        "20",
        "--set",
        "trainer.max_steps=2",
        "system.particles.n_particles=2",
        "--output",
        str(tmp_path),
    ]
    subprocess.run(sweep, cwd=ROOT, env=environment, check=True)
    [log] = (tmp_path / "logs").glob("*seed=4*.log")  # the second: the first has left nothing behind
    command = shlex.split(log.read_text().splitlines()[0].removeprefix("$ "))
    command = [each.replace('tag="', 'tag="alone,') for each in command]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    forked, alone = (_weights(tmp_path / "runs" / f"{prefix}{log.stem}") for prefix in ("", "alone,"))
    assert forked.keys() == alone.keys()
    assert any("particles" in key for key in forked)
    torch.testing.assert_close(forked, alone, rtol=0, atol=0)


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "ckpts" / "last.ckpt", weights_only=True)["state_dict"]
