"""Signals: programs that are asked to stop, and processes that end with their parent."""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # Ctrl-C; docker stop and Slurm; a closed terminal
PR_SET_PDEATHSIG = 1  # linux/prctl.h
T = TypeVar("T")

_libc = ctypes.CDLL(None) if sys.platform == "linux" else None  # loaded before any fork


class Stopped(BaseException):
    """Raised where a program ends because it was asked to by a signal.

    Attributes:
        exit_code: 128 plus the number of the signal: 130 for SIGINT, 143 for SIGTERM, 129 for SIGHUP.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


def accepted_signals() -> list[signal.Signals]:
    """The signals of STOPPING that this process does not ignore: nohup ignores SIGHUP, and scripts with `&` SIGINT."""
    return [each for each in STOPPING if signal.getsignal(each) != signal.SIG_IGN]


def end_with_parent(number: int = signal.SIGTERM, parent: int | None = None) -> Callable[[], None]:
    """Function for a new process, such as `preexec_fn` of subprocess.Popen: when its parent ends, it gets a signal.

    The parent may end in any way, also by SIGKILL. Only Linux can do this; elsewhere the function does nothing. For
    Linux the parent is the thread that starts the process, see `in_lasting_thread`.

    Args:
        number: signal that the process gets, such as SIGTERM to save and end, or SIGKILL.
        parent: process id of the parent; None: the process that calls `end_with_parent`.
    """
    expected = os.getpid() if parent is None else parent

    def set_up() -> None:
        if _libc is None:
            return
        _libc.prctl(PR_SET_PDEATHSIG, int(number))
        if os.getppid() != expected:  # the parent has ended before the call
            os.kill(os.getpid(), number)

    return set_up


_lasting = ThreadPoolExecutor(max_workers=1, thread_name_prefix="starts-processes")


def in_lasting_thread(function: Callable[[], T]) -> T:
    """Result of a function that starts a process with `end_with_parent`, called in a thread that does not end early.

    Args:
        function: called in the main thread if that calls this, else in one thread that all other threads share.
    """
    if threading.current_thread() is threading.main_thread():
        return function()
    return _lasting.submit(function).result()
