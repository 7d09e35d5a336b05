"""Fast start of runs: forks of a server process that has already imported the heavy libraries.

The server starts with the first run and ends with the program that started it. The two exchange lines of JSON over a
pair of sockets: the program sends requests to start a run, the server answers with process ids and exit codes.
"""

import atexit
import contextlib
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..signals import STOPPING, end_with_parent, in_lasting_thread

# Modules that runs import. They must not hold locks, which forks would share. `cli` is not among them, because it is
# the main module of each run. Importing diffusers queries the GPUs, after which torch cannot use them in forks.
PRELOADED = [
    "threestudio_rsd.extension.prompt_processor",
    "threestudio_rsd.extension.guidance",
    "threestudio_rsd.extension.data",
    "threestudio_rsd.extension.systems",
    "threestudio_rsd.extension.ensembles",
    "threestudio_rsd.extension.threestudio_dreamfusion",
    "threestudio_rsd.standalone.engine.launch",
    "diffusers.utils.logging",  # this one and the following are imported lazily by the package
    "diffusers.models.autoencoders.autoencoder_kl",
    "diffusers.models.unets.unet_2d_condition",
    "torch.utils.tensorboard",
]
HELD = STOPPING  # blocked in the server: a terminal sends them to all processes
THREADS_KEY = "OMP_NUM_THREADS"
POLL_SECONDS = 0.05
PROGRAM = "import sys; from threestudio_rsd.runs.preloaded import serve; serve(int(sys.argv[1]), sys.argv[2:])"


class Fork:
    """`python -m module argument ...` as a fork of the server, in a session of its own.

    `pid`, `poll` and `send_signal` are those of `subprocess.Popen`. The fork computes on the CPU, see PRELOADED.

    Args:
        command: Python, `-m`, a module and its arguments.
        log: file to which the output is appended.
        environment: environment variables of the process. OMP_NUM_THREADS takes effect, though torch is imported
            already.

    Raises:
        RuntimeError: the server has ended, for example because a library cannot be imported.
    """

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        _, option, module, *arguments = command
        assert option == "-m", command
        self._server = running_server(environment)
        self._code: int | None = None
        self.pid = self._server.start(
            module=module,
            arguments=arguments,
            log=str(log),
            environment=dict(environment),
            folder=str(Path.cwd()),
            paths=_import_paths(),
        )

    def poll(self) -> int | None:
        """Exit code, negative for a signal that ended the process; None while it runs."""
        if self._code is None:
            self._code = self._server.exit_code(self.pid)
        return self._code

    def send_signal(self, number: int) -> None:
        """Send a signal to the process, if it still runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Server:
    """The server process, seen from the program that uses it.

    Args:
        environment: environment of the first run; its OMP_NUM_THREADS is used when torch is imported.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._connection, other = socket.socketpair()
        self._received = b""
        self._codes: dict[int, int] = {}  # exit codes that have not been returned yet, by process id
        self.has_ended = False
        own = {key: value for key, value in environment.items() if key == THREADS_KEY}
        own["PYTHONPATH"] = os.pathsep.join(_import_paths())
        command = [sys.executable, "-c", PROGRAM, str(other.fileno()), *PRELOADED]
        try:
            self._process = in_lasting_thread(lambda: _start(command, {**os.environ, **own}, other.fileno()))
        finally:
            other.close()
        self.pid = self._process.pid

    def start(self, **request: Any) -> int:
        """Process id of a new fork; `request` holds the arguments of `_become`."""
        with contextlib.suppress(ConnectionError):  # the server has ended: the loop below then receives nothing
            self._connection.sendall(json.dumps(request).encode() + b"\n")
        while not self.has_ended:
            started = self._receive()
            if started is not None:
                return started
        raise RuntimeError(f"The process that starts runs has ended with exit code {self._process.wait()}.")

    def exit_code(self, pid: int) -> int | None:
        """Exit code of a fork; None while it runs; 1 if the server ended before the fork did."""
        self._receive(socket.MSG_DONTWAIT)
        if pid in self._codes:
            return self._codes.pop(pid)
        return 1 if self.has_ended and not _is_running(pid) else None

    def _receive(self, flags: int = 0) -> int | None:
        """Process the messages that have arrived; return the process id of a fork that has started, if any."""
        try:
            data = self._connection.recv(1 << 16, flags)
        except BlockingIOError:
            return None
        except ConnectionError:
            data = b""
        self.has_ended = self.has_ended or not data
        *lines, self._received = (self._received + data).split(b"\n")
        started = None
        for message in map(json.loads, lines):
            if "code" in message:
                self._codes[message["pid"]] = message["code"]
            else:
                started = message["pid"]
                self._codes.pop(started, None)  # exit code of an earlier process with this id
        return started


def _start(command: Sequence[str], environment: Mapping[str, str], descriptor: int) -> subprocess.Popen:
    """Start the server, which inherits blocked signals, so that Ctrl-C ends the runs before the server."""
    former = signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            env=environment,
            pass_fds=[descriptor],
            preexec_fn=end_with_parent(signal.SIGKILL),  # noqa: PLW1509 a single system call
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


_servers: list[Server] = []  # empty, or the server in use


def running_server(environment: Mapping[str, str]) -> Server:
    """Server of this program, started if there is none; takes the argument of `Server`."""
    if not _servers or _servers[0].has_ended:
        _servers[:] = [Server(environment)]
    return _servers[0]


def serve(descriptor: int, modules: Sequence[str]) -> None:
    """The server process: start forks on request, until the program at the other end of the socket has ended.

    A fork ends with its program and does not return from here.

    Args:
        descriptor: file descriptor of the socket.
        modules: names of modules to import first; those that cannot be imported are skipped.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shell scripts start `command &` with SIGINT ignored
    for name in modules:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    connection = socket.socket(fileno=descriptor)
    requests = connection.makefile("rb")
    children: set[int] = set()

    def report(message: Mapping[str, int]) -> None:
        with contextlib.suppress(ConnectionError):  # the program has ended: the next read returns nothing
            connection.sendall(json.dumps(message).encode() + b"\n")

    while True:
        readable, _, _ = select.select([connection], [], [], POLL_SECONDS)
        if readable:
            line = requests.readline()  # requests come one at a time, so no further line is buffered
            if not line.endswith(b"\n"):
                return
            set_up = end_with_parent()
            pid = os.fork()
            if pid == 0:
                set_up()
                requests.close()
                connection.close()
                _become(**json.loads(line))
            children.add(pid)
            report({"pid": pid})
        for pid, code in _ended(children):
            report({"pid": pid, "code": code})


def _become(
    module: str, arguments: list[str], log: str, environment: dict[str, str], folder: str, paths: list[str]
) -> None:
    """Run `python -m module` in the forked process and end it."""
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    _set_threads(environment.get(THREADS_KEY, ""))
    sys.path[:] = paths
    sys.argv = [module, *arguments]
    code: Any = None
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    _end(code)


def _end(code: Any) -> None:
    """End a fork with the argument of `sys.exit`; freeing all that the server imported would take seconds."""
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    try:
        threading._shutdown()  # type: ignore[attr-defined] # waits for threads, as at the end of any Python process
        atexit._run_exitfuncs()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code or 0)


def _import_paths() -> list[str]:
    """Folders from which this program imports; an empty name is the working folder."""
    return [path or str(Path.cwd()) for path in sys.path]


def _set_threads(wanted: str) -> None:
    """Set torch's number of threads if it differs from that of the server."""
    torch = sys.modules.get("torch")
    if torch is not None and wanted.isdigit() and int(wanted) not in (0, torch.get_num_threads()):
        torch.set_num_threads(int(wanted))


def _ended(children: set[int]) -> Iterator[tuple[int, int]]:
    """Process ids and exit codes of the children that have ended, which are removed from the set."""
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        if pid in children:
            children.remove(pid)
            yield pid, os.waitstatus_to_exitcode(status)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
