"""Start of processes that compute runs."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..signals import end_with_parent, in_lasting_thread
from .preloaded import Fork


def start_in_session(
    command: Sequence[str], log: Path, environment: Mapping[str, str], on_gpu: bool
) -> subprocess.Popen | Fork:
    """Start a command in a session of its own, which Ctrl-C on the terminal does not reach: as a fork where possible.

    The process gets SIGTERM when this program ends. Any thread may call this.

    Args:
        command: Python, `-m`, a module and its arguments.
        log: file to which the output is appended.
        environment: environment variables of the process.
        on_gpu: whether the process uses GPUs. A fork cannot, and some libraries of macOS cannot be forked.
    """
    if not on_gpu and sys.platform == "linux":
        return Fork(command, log, environment)
    options = {"start_new_session": True, "preexec_fn": _accept_interrupts(end_with_parent())}
    return in_lasting_thread(lambda: start_process(command, log, environment, **options))


def start_process(
    command: Sequence[str], log: Path, environment: Mapping[str, str], **options: Any
) -> subprocess.Popen:
    """Start a command as a new process.

    Args:
        command: program and its arguments.
        log: file to which the output is appended.
        environment: environment variables of the process.
        **options: options of `subprocess.Popen`.
    """
    with log.open("a", encoding="utf-8") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            **options,
        )


def visible_gpus() -> list[str]:
    """Names of the GPUs that this program may use, as in CUDA_VISIBLE_DEVICES."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [part for part in visible.split(",") if part]
    import torch

    return [str(i) for i in range(torch.cuda.device_count())]


def _accept_interrupts(end_with: Callable[[], None]) -> Callable[[], None]:
    """Function for a new process: restore SIGINT, which processes inherit as ignored from a script's `&`."""

    def set_up() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        end_with()

    return set_up
