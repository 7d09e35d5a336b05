"""Where the runs of a sweep are computed: in processes of this machine, or on a cluster.

submitit serves the cluster only. Its local executor starts everything at once, hides the GPUs, ends a job after its
time limit, and kills one second after Ctrl-C, when a run is still saving.
"""

import os
import shlex
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ..errors import UserError, first_line, require
from .preloaded import Fork
from .run import Run

EXTRA = "sweep"  # of the package, brings submitit
# submitit's own limit of 5 minutes is for trials; a run that reaches this one goes on in a further job.
SLURM_DEFAULTS = {"job_name": "rsd-sweep", "time": 240, "signal_delay_s": 120}
REQUEUES = 20  # time limits that one run may reach


class Workers(Protocol):
    """Computes runs."""

    @property
    def busy(self) -> bool:
        """Whether a run waits or is computed."""

    def poll(self) -> list[tuple[Run, int]]:
        """Start what there is room for; return what has ended since the last call, with exit codes."""

    def stop(self) -> None:
        """Start no more, and ask what is computed to save and end."""

    def kill(self) -> None:
        """End at once."""


class LocalWorkers:
    """Processes on this machine, `count` at a time, each with its share of the cores and a GPU where there are some."""

    def __init__(self, runs: Sequence[Run], count: int) -> None:
        self._waiting = deque(runs)
        self._count = count
        self._running: dict[int, tuple[Run, subprocess.Popen | Fork]] = {}  # by slot
        self._gpus = _visible_gpus()

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

    def stop(self) -> None:
        self._waiting.clear()
        for _, process in self._running.values():
            process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        self._waiting.clear()
        for _, process in self._running.values():
            if process.poll() is None:
                try:
                    os.killpg(process.pid, signal.SIGKILL)
                except ProcessLookupError:  # a fork that has not come to its session yet
                    process.send_signal(signal.SIGKILL)

    def _environment(self, slot: int) -> dict[str, str]:
        environment = {"OMP_NUM_THREADS": str(max(1, _cores() // self._count)), **os.environ}
        if self._gpus:
            environment["CUDA_VISIBLE_DEVICES"] = self._gpus[slot % len(self._gpus)]
        return environment


class ClusterWorkers:
    """Jobs of a submitit executor, submitted at once as one array.

    Args:
        runs: to be computed.
        executor: such as `slurm_executor` makes.
    """

    def __init__(self, runs: Sequence[Run], executor: Any) -> None:
        try:
            with executor.batch():
                jobs = [executor.submit(ClusterRun(run)) for run in runs]
        except (OSError, RuntimeError) as error:
            raise UserError(f"The cluster does not take the jobs: {first_line(error)}.") from error
        self._jobs: list[tuple[Run, Any]] = list(zip(runs, jobs, strict=True))

    @property
    def busy(self) -> bool:
        return bool(self._jobs)

    def poll(self) -> list[tuple[Run, int]]:
        done = [job.done() for _, job in self._jobs]
        ended = [pair for pair, its in zip(self._jobs, done, strict=True) if its]
        self._jobs = [pair for pair, its in zip(self._jobs, done, strict=True) if not its]
        return [(run, _exit_code(job)) for run, job in ended]

    def stop(self) -> None:
        for _, job in self._jobs:
            job.cancel(check=False)

    def kill(self) -> None:
        self.stop()
        self._jobs = []


class ClusterRun:
    """What submitit calls on a node: the run's process, in which the cluster's signals become Ctrl-C."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._pid: int | None = None

    def __call__(self) -> int:
        """Exit code of the run."""
        process = start_process(self.run, os.environ, preexec_fn=_ignore_cluster_signals)
        self._pid = process.pid
        signal.signal(signal.SIGTERM, lambda *_: self._interrupt())  # scancel
        return process.wait()

    def checkpoint(self) -> Any:
        """Before the time limit, or when another job takes the node: save, and go on in a further job."""
        self._interrupt()
        return require("submitit.helpers", EXTRA).DelayedSubmission(ClusterRun(self.run))

    def _interrupt(self) -> None:
        if self._pid is None:
            return
        try:
            os.kill(self._pid, signal.SIGINT)
            os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOWAIT)  # __call__, which this interrupts, reaps it
        except (ChildProcessError, ProcessLookupError):
            pass  # it has ended


def slurm_executor(folder: Path, options: Mapping[str, Any], workers: int | None) -> Any:
    """Submitit's executor for Slurm.

    Args:
        folder: for its scripts, which all nodes must see.
        options: of submitit.SlurmExecutor, such as partition, time in minutes, gpus_per_node, mem.
        workers: jobs at a time; as many as the cluster gives by default.

    Raises:
        UserError: there is no submitit, no Slurm, or no such option.
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
    """Start a run in a session of its own, for Ctrl-C on the terminal is the sweep's to pass on."""
    # A fork has no GPU, and not all libraries of macOS survive one.
    if environment.get("CUDA_VISIBLE_DEVICES") or sys.platform != "linux":
        return start_process(run, environment, start_new_session=True, preexec_fn=_heed_interrupts)
    command = run.command()
    _begin_log(run, command)
    return Fork(command, run.log, environment)


def start_process(run: Run, environment: Mapping[str, str], **options: Any) -> subprocess.Popen:
    """Start a run, whose output is added to its log; `options` are those of Popen."""
    command = run.command()
    _begin_log(run, command)
    with run.log.open("a", encoding="utf-8") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            **options,
        )


def _begin_log(run: Run, command: Sequence[str]) -> None:
    """Add the line under which the output of this start follows."""
    run.log.parent.mkdir(parents=True, exist_ok=True)
    with run.log.open("a", encoding="utf-8") as log:
        log.write(f"$ {shlex.join(command)}\n")


def _heed_interrupts() -> None:
    """In the run's own process: what a script starts with `&` ignores them, and so would its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _ignore_cluster_signals() -> None:
    """In the run's own process: the cluster sends them to every process, and they would end it unsaved."""
    for each in (signal.SIGTERM, signal.SIGUSR2):
        signal.signal(each, signal.SIG_IGN)


def _exit_code(job: Any) -> int:
    """Of the run of a job that is done; 1 if the job itself has failed."""
    try:
        return job.result()
    except Exception:  # whatever the cluster has to say; the run's own log tells the user
        return 1


def _visible_gpus() -> list[str]:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [part for part in visible.split(",") if part]
    import torch

    return [str(i) for i in range(torch.cuda.device_count())]


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
