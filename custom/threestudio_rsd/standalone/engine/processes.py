"""The processes of a run on several devices.

`rsd launch` is rank 0 and starts the others of its node, unless torchrun or Slurm has started all of them.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from ...errors import UserError
from ...particles.ranks import RankError, gather_objects, is_lost, rank, share
from ...signals import end_with_parent
from ..utils.messages import info

STRATEGY = "particles"  # registered by the extension
ERRORS = "RSD_RANK_ERRORS"  # folder in which the processes that `rsd launch` has started write their errors
POLL = 0.3  # seconds between two looks at the processes
GRACE = 15.0  # seconds for this process to notice that another one has ended
DELAY = 10.0  # seconds after which a process has ended that cannot be reached
LONGEST_END = 60.0  # seconds for the other processes to end after this one
RESUME = "continue with resume=TRIAL_FOLDER/ckpts/last.ckpt"


class FailedElsewhereError(UserError):
    """Rank 0 raises the error that belongs to this one, and shows it."""


@contextmanager
def connected_processes(settings: dict, command: Sequence[str]) -> Iterator[None]:
    """Context in which all processes of a run are connected; nothing happens if there is one.

    Args:
        settings: arguments of Lightning's Trainer.
        command: words of the command of the other processes.

    Raises:
        UserError: the settings are not accepted, or another process has failed.
    """
    strategy = _strategy_of_many(settings)
    with ExitStack() as stack:
        if strategy is not None and not strategy.cluster_environment.creates_processes_externally:
            stack.enter_context(_StartedProcesses(command, strategy.num_processes, strategy.num_nodes))
            strategy = _strategy_of_many(settings)  # in the environment of rank 0
        if strategy is not None:
            stack.enter_context(_connected(strategy))
        yield


def uses_many(settings: dict) -> bool:
    """Whether a trainer's settings may give several processes."""
    return settings.get("devices") not in (None, 1, "1") or settings.get("num_nodes") not in (None, 1)


def is_started_process() -> bool:
    """Whether `rsd launch` has started this process for a device other than the first."""
    return ERRORS in os.environ and os.environ.get("LOCAL_RANK") != "0"


def leave_error(error: UserError) -> None:
    """Leave an error of a process that `rsd launch` has started to rank 0."""
    if not isinstance(error, RankError | FailedElsewhereError):
        Path(os.environ[ERRORS], os.environ["RANK"]).write_text(str(error), encoding="utf-8")


def raise_together(error: UserError | None) -> None:
    """Raise the first error of all ranks, on all of them; every rank calls it with its error or None.

    Raises:
        UserError: on rank 0.
        FailedElsewhereError: on the other ranks.
    """
    found = gather_objects(None if error is None else str(error))
    first = share(None if found is None else next((each for each in found if each is not None), None))
    if first is None:
        return
    if rank() == 0:
        raise UserError(first) if error is None or str(error) != first else error
    raise FailedElsewhereError(first)


def _strategy_of_many(settings: dict) -> Any:
    """Strategy of a run in several processes; None if there is one."""
    if not uses_many(settings):
        return None
    kept = {key: settings[key] for key in ("accelerator", "devices", "num_nodes") if settings.get(key) is not None}
    try:
        trainer = pl.Trainer(
            strategy=STRATEGY, logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, **kept,
        )  # fmt: skip
    except (TypeError, ValueError, AttributeError, LookupError, RuntimeError, MisconfigurationException) as error:
        reason = " ".join(str(error).split()).rstrip(".!")
        raise UserError(f"The section trainer is not accepted by Lightning: {reason}.") from error
    return trainer.strategy if trainer.world_size > 1 else None


@contextmanager
def _connected(strategy: Any) -> Iterator[None]:
    if strategy.num_nodes > 1:
        environment = strategy.cluster_environment
        info(f"Waiting for the processes of all nodes at {environment.main_address}:{environment.main_port}")
    strategy.setup_environment()
    ranks = {"LOCAL_RANK": str(strategy.local_rank), "RANK": str(strategy.global_rank)}  # Slurm has other names
    try:
        with _variables(ranks):
            yield
            torch.distributed.barrier()
    except BaseException:
        if torch.distributed.get_backend() == "gloo":  # others wait for lost processes
            torch.distributed.destroy_process_group()
        raise
    torch.distributed.destroy_process_group()


@contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    """Context with variables of the environment."""
    former = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in former.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class _StartedProcesses:
    """Context of the other processes of this node. If one of them fails, this process fails with its error.

    Args:
        command: words of their command.
        count: number of processes of a node, with this one.
        num_nodes: number of nodes; the variables NODE_RANK, MASTER_ADDR and MASTER_PORT tell which node this is and
            where the first one is, as for Lightning.
    """

    def __init__(self, command: Sequence[str], count: int, num_nodes: int) -> None:
        self.command = list(command)
        self.count = count
        node = int(os.environ.get("NODE_RANK", "0"))
        self.first = node * count
        self.variables = {
            "NODE_RANK": str(node),
            "WORLD_SIZE": str(num_nodes * count),
            "MASTER_ADDR": os.environ.get("MASTER_ADDR", "127.0.0.1"),
            "MASTER_PORT": os.environ.get("MASTER_PORT") or _free_port(),
        }
        self.processes: list[subprocess.Popen] = []
        self._over = threading.Event()

    def __enter__(self) -> "_StartedProcesses":
        self._errors = tempfile.TemporaryDirectory(prefix="rsd-")
        self.variables[ERRORS] = self._errors.name
        self._own = _variables({**self.variables, "LOCAL_RANK": "0", "RANK": str(self.first)})
        package = str(Path(__file__).parents[3])
        path = os.pathsep.join(each for each in (package, os.environ.get("PYTHONPATH")) if each)
        for index in range(1, self.count):
            ranks = {"LOCAL_RANK": str(index), "RANK": str(self.first + index)}
            self.processes.append(
                subprocess.Popen(
                    self.command,
                    env={**os.environ, **self.variables, **ranks, "PYTHONPATH": path},
                    stdin=subprocess.DEVNULL,
                    preexec_fn=end_with_parent(signal.SIGKILL),  # noqa: PLW1509 a single system call
                )
            )
        self._own.__enter__()
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        lost = isinstance(error, RankError) or (error is not None and is_lost(error))
        try:
            failure = self._wait_for_failure(DELAY if lost else 0.0)
            if error is None:
                self._wait()
            if lost and failure is not None:
                raise UserError(failure) from error
        finally:
            self._kill()
            self._own.__exit__(None, None, None)
            self._errors.cleanup()

    def _watch(self) -> None:
        """End this process where another one has failed and it does not notice, as in a call that waits for a GPU."""
        while not self._over.wait(POLL):
            if self._failure() is not None:
                if self._over.wait(GRACE):
                    return
                print(f"rsd: error: {self._failure()}", file=sys.stderr, flush=True)
                self._kill()
                os._exit(2)

    def _wait_for_failure(self, seconds: float) -> str | None:
        deadline = time.monotonic() + seconds
        while (failure := self._failure()) is None and time.monotonic() < deadline:
            time.sleep(POLL)
        return failure

    def _failure(self) -> str | None:
        """Sentence about the process that failed first; None if none has."""
        ended = {self.first + i: each.poll() for i, each in enumerate(self.processes, 1)}
        failed = {index: code for index, code in ended.items() if code}
        for index in failed:
            left = Path(self._errors.name, str(index))
            if left.is_file():
                return left.read_text(encoding="utf-8")
        # Those that were ended by a signal come first: the others may have failed because of them.
        for index, code in sorted(failed.items(), key=lambda item: item[1]):
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"failed with exit code {code}"
            return f"The process of rank {index} {how}; {RESUME}."
        return None

    def _wait(self) -> None:
        deadline = time.monotonic() + LONGEST_END
        while time.monotonic() < deadline and any(process.poll() is None for process in self.processes):
            time.sleep(POLL)

    def _kill(self) -> None:
        """End the processes, which write nothing."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()


def _free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])
