"""Workers that compute the runs of a sweep: in processes on this machine, or as jobs on a cluster.

`process_map` does not fit: a run has a process, a log file, a GPU and a session of its own, and saves after Ctrl-C.
submitit is used for the cluster only. Its local executor starts all jobs at once, hides the GPUs, ends a job after its
time limit, and kills it one second after Ctrl-C, when a run is still saving.
"""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ..errors import UserError, first_line, require
from ..files import locked_folder
from ..signals import end_with_parent
from .preloaded import THREADS_KEY, Fork, running_server
from .processes import start_in_session, start_process, visible_gpus
from .run import Run

EXTRA = "sweep"  # extra of this package that installs submitit
# submitit's default limit is 5 minutes. A run that reaches the limit continues in a further job.
SLURM_DEFAULTS = {"job_name": "rsd-sweep", "time": 240, "signal_delay_s": 120}
SAVING_SECONDS = 30.0  # longest time for a step and its checkpoint
REQUEUES = 20  # number of further jobs for one run


class Workers(Protocol):
    """Interface of what computes runs."""

    @property
    def busy(self) -> bool:
        """Whether runs are waiting or running."""

    def poll(self) -> list[tuple[Run, int]]:
        """Start as many runs as fit; returns the runs that ended since the last call, with exit codes."""

    def stop(self, number: int = signal.SIGINT) -> None:
        """Start no further run, and send a signal to the running ones, which then save and end."""

    def kill(self) -> None:
        """End all runs at once."""


class LocalWorkers:
    """Processes on this machine. Each gets an equal number of the cores, and a GPU where there are any.

    Args:
        runs: runs to compute.
        count: number of runs at a time.
    """

    def __init__(self, runs: Sequence[Run], count: int) -> None:
        self._waiting = deque(runs)
        self._count = count
        self._running: dict[int, tuple[Run, subprocess.Popen | Fork]] = {}  # by slot
        self._gpus = visible_gpus()

    @property
    def busy(self) -> bool:
        return bool(self._waiting or self._running)

    def poll(self) -> list[tuple[Run, int]]:
        ended = []
        for slot, (run, process) in list(self._running.items()):
            code = process.poll()
            if code is not None:
                del self._running[slot]
                ended.append((run, code))
        for slot in range(self._count):
            if self._waiting and slot not in self._running:
                run = self._waiting.popleft()
                self._running[slot] = run, start_session(run, self._environment(slot))
        return ended

    def stop(self, number: int = signal.SIGINT) -> None:
        self._waiting.clear()
        for _, process in self._running.values():
            process.send_signal(number)

    def kill(self) -> None:
        self._waiting.clear()
        for _, process in self._running.values():
            if process.poll() is None:
                try:
                    os.killpg(process.pid, signal.SIGKILL)
                except ProcessLookupError:  # a fork that has no session yet
                    process.send_signal(signal.SIGKILL)

    def _environment(self, slot: int) -> dict[str, str]:
        environment = _thread_environment(self._count)
        if self._gpus:
            environment["CUDA_VISIBLE_DEVICES"] = self._gpus[slot % len(self._gpus)]
        return environment


def preload(count: int) -> None:
    """Start to import the libraries of runs in the background, for `LocalWorkers` that are made later.

    Args:
        count: number of runs at a time.
    """
    if sys.platform == "linux" and not shutil.which("nvidia-smi"):  # runs on GPUs are processes of their own
        running_server(_thread_environment(count))


def _thread_environment(count: int) -> dict[str, str]:
    """Environment of one of `count` runs at a time, which share the cores; OMP_NUM_THREADS of the user is kept."""
    return {THREADS_KEY: str(max(1, available_cores() // count)), **os.environ}


class ClusterWorkers:
    """Jobs of a submitit executor, submitted at once as one array.

    Args:
        runs: runs to compute.
        executor: submitit executor, see `slurm_executor`.

    Raises:
        UserError: the cluster rejects the jobs.
    """

    def __init__(self, runs: Sequence[Run], executor: Any) -> None:
        try:
            with executor.batch():
                jobs = [executor.submit(ClusterRun(run)) for run in runs]
        except (OSError, RuntimeError) as error:
            raise UserError(f"The cluster rejects the jobs: {first_line(error)}.") from error
        self._jobs: list[tuple[Run, Any]] = list(zip(runs, jobs, strict=True))

    @property
    def busy(self) -> bool:
        return bool(self._jobs)

    def poll(self) -> list[tuple[Run, int]]:
        done = [job.done() for _, job in self._jobs]
        ended = [pair for pair, its in zip(self._jobs, done, strict=True) if its]
        self._jobs = [pair for pair, its in zip(self._jobs, done, strict=True) if not its]
        return [(run, _exit_code(job)) for run, job in ended]

    def stop(self, number: int = signal.SIGINT) -> None:
        for _, job in self._jobs:
            job.cancel(check=False)

    def kill(self) -> None:
        self.stop()
        self._jobs = []


class ClusterRun:
    """Function that submitit calls on a node: starts the run's process, and interrupts it on the cluster's signals.

    Args:
        run: run to compute.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._pid: int | None = None

    def __call__(self) -> int:
        """Compute the run; returns its exit code."""
        set_up = _on_a_cluster(end_with_parent(signal.SIGINT))
        process = start_process(_begin_log(self.run), self.run.log, os.environ, preexec_fn=set_up)
        self._pid = process.pid
        signal.signal(signal.SIGTERM, lambda *_: self._interrupt())  # scancel
        return process.wait()

    def checkpoint(self) -> Any:
        """Called before the time limit and before preemption: the run saves, and continues in the job returned."""
        self._interrupt()
        return require("submitit.helpers", EXTRA).DelayedSubmission(ClusterRun(self.run))

    def _interrupt(self) -> None:
        if self._pid is None:
            return
        try:
            os.kill(self._pid, signal.SIGINT)
            os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOWAIT)  # without reaping it, which __call__ does
        except (ChildProcessError, ProcessLookupError):
            pass  # the process has ended


def slurm_executor(folder: Path, options: Mapping[str, Any], workers: int | None) -> Any:
    """Executor of submitit for Slurm.

    Args:
        folder: folder of the executor's scripts, which all nodes must be able to read.
        options: options of submitit.SlurmExecutor, such as partition, time in minutes, gpus_per_node, mem.
        workers: number of jobs at a time; None: no limit.

    Raises:
        UserError: submitit or Slurm is missing, or an option is unknown.
    """
    submitit = require("submitit", EXTRA)
    try:
        executor = submitit.SlurmExecutor(folder, max_num_timeout=REQUEUES)
    except RuntimeError as error:
        raise UserError(f"--backend=slurm needs Slurm ({first_line(error)}); accepted here: local.") from error
    parallel = {} if workers is None else {"array_parallelism": workers}
    try:
        executor.update_parameters(**{**SLURM_DEFAULTS, **parallel, **options})
    except (ValueError, TypeError) as error:
        raise UserError(f"--slurm is not accepted: {' '.join(str(error).split())}.") from error
    return executor


def start_session(run: Run, environment: Mapping[str, str]) -> subprocess.Popen | Fork:
    """Start a run in a session of its own, so that Ctrl-C on the terminal reaches the sweep alone.

    Args:
        run: run to start.
        environment: environment variables of the process.
    """
    _wait_for_owner(run)
    on_gpu = bool(environment.get("CUDA_VISIBLE_DEVICES"))
    return start_in_session(_begin_log(run), run.log, environment, on_gpu)


def _wait_for_owner(run: Run) -> None:
    """Wait until a former process of the run has saved and ended; it does so when its sweep is killed."""
    if run.folder.is_dir():
        with contextlib.suppress(UserError), locked_folder(run.folder, "", SAVING_SECONDS):
            pass  # where it goes on, the new process says so


def _begin_log(run: Run) -> list[str]:
    """Append the command line to a run's log, above the output of this start; returns the command."""
    command = run.command()
    run.log.parent.mkdir(parents=True, exist_ok=True)
    with run.log.open("a", encoding="utf-8") as log:
        log.write(f"$ {shlex.join(command)}\n")
    return command


def _on_a_cluster(end_with: Callable[[], None]) -> Callable[[], None]:
    """Function for the run's process: ignore signals that the cluster sends to all processes, as well as to ours."""

    def set_up() -> None:
        for each in (signal.SIGTERM, signal.SIGUSR2):
            signal.signal(each, signal.SIG_IGN)
        end_with()

    return set_up


def _exit_code(job: Any) -> int:
    """Exit code of the run of a finished job; 1 if the job itself failed."""
    try:
        return job.result()
    except Exception:  # any error of the cluster; the user finds the reason in the run's log
        return 1


def available_cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
