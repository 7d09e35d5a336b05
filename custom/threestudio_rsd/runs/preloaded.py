"""Runs that start in a second: forks of a process, the server, that has imported the heavy libraries once.

The server is multiprocessing's. It starts with the first fork, and ends with the program that asked for it.
"""

import atexit
import contextlib
import multiprocessing
import os
import runpy
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from types import ModuleType

# What a run imports; none of it may hold a lock that forks would share, and cli is each run's main module. diffusers
# asks for GPUs when it is imported, after which torch refuses them to forks.
PRELOADED = [
    "threestudio_rsd.extension.prompt_processor",
    "threestudio_rsd.extension.guidance",
    "threestudio_rsd.extension.data",
    "threestudio_rsd.extension.systems",
    "threestudio_rsd.extension.ensembles",
    "threestudio_rsd.extension.threestudio_dreamfusion",
    "threestudio_rsd.standalone.engine.launch",
    "diffusers.utils.logging",  # these, our modules import when they need them
    "diffusers.models.autoencoders.autoencoder_kl",
    "diffusers.models.unets.unet_2d_condition",
    "torch.utils.tensorboard",
]
HELD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # a terminal sends them to the server as well


class Fork:
    """`python -m module argument ...` as a fork, in a session of its own; `pid` and the methods are those of Popen.

    It computes on the CPU, see PRELOADED.

    Args:
        command: Python, `-m`, a module and its arguments.
        log: file that the output is added to.
        environment: of the process. OMP_NUM_THREADS is heeded, though torch is imported already.
    """

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        _, option, module, *arguments = command
        assert option == "-m", command
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        asked = (module, arguments, str(log), dict(environment), os.getcwd())
        self._process = context.Process(target=_perform, args=asked)
        with _hidden_main():
            _start_server(environment)
            self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Exit code, the negative signal where one ended it; None while it runs."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def _perform(module: str, arguments: list[str], log: str, environment: dict[str, str], folder: str) -> None:
    """In the fork: become the process that `python -m` would have started."""
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for source, target in ((os.open(os.devnull, os.O_RDONLY), 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    _set_threads(environment.get("OMP_NUM_THREADS", ""))
    sys.argv = [module, *arguments]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a script starts with `&` ignores it
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()  # multiprocessing ends its processes without


def _set_threads(wanted: str) -> None:
    """Give torch another number of threads than the server was started with."""
    torch = sys.modules.get("torch")
    if torch is not None and wanted.isdigit() and int(wanted) not in (0, torch.get_num_threads()):
        torch.set_num_threads(int(wanted))


def _start_server(environment: Mapping[str, str]) -> None:
    """Start the server if there is none, deaf to Ctrl-C from its first moment: it has to outlive the runs."""
    resource_tracker.ensure_running()  # here, for it unblocks signals
    threads = os.environ.get("OMP_NUM_THREADS")
    former = signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
    # A server that inherits an ignored Ctrl-C, as from nohup, would have each fork drop one that comes as it starts.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        os.environ.update({key: value for key, value in environment.items() if key == "OMP_NUM_THREADS"})
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, former)
        if threads is None:
            os.environ.pop("OMP_NUM_THREADS", None)
        else:
            os.environ["OMP_NUM_THREADS"] = threads


@contextlib.contextmanager
def _hidden_main() -> Iterator[None]:
    """Without a main module, which multiprocessing would import in the fork: a plain script would begin anew there."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
