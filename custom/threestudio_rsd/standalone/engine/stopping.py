"""Stopping a run by a signal: the step is finished and saved first."""

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from pytorch_lightning.callbacks import Callback

from ...particles.ranks import largest, n_ranks
from ...signals import Stopped, accepted_signals
from ..utils.messages import warn


class StopSignals(Callback):
    """Lightning callback and context that handles SIGINT, SIGTERM and SIGHUP.

    During training the first of them lets the step end; callbacks before this one in the list save it. All other
    signals stop the run at once: a second one, and those before and after training, when nothing is unsaved.

    Raises:
        Stopped: the run is to end.
    """

    def __init__(self) -> None:
        self._received: int | None = None
        self._number: int | None = None  # the signal by which all processes of the run are to end
        self._is_training = False
        self._former: dict[int, Callable[[int, FrameType | None], Any] | int | None] = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            self._former = {number: signal.signal(number, self.handle) for number in accepted_signals()}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
        self._former = {}

    @property
    def is_stopping(self) -> bool:
        """Whether the run is to end after this step."""
        return self._number is not None

    def handle(self, number: int, frame: FrameType | None = None) -> None:
        """Handler of the signals."""
        if self._received is not None or not self._is_training:
            raise Stopped(number)
        self._received = number
        if n_ranks() == 1:
            self._number = number
        again = "press Ctrl-C again" if number == signal.SIGINT else "send it again"
        warn(f"\n{signal.Signals(number).name}: finishing and saving this step; {again} to stop at once.")

    def share(self) -> None:
        """Let all processes of the run end if one of them received a signal; all of them call this in each step."""
        if n_ranks() > 1:
            self._number = largest(self._received or 0) or None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._is_training = True
        for number in self._former:  # Lightning has replaced the handler of SIGTERM
            signal.signal(number, self.handle)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        if self.is_stopping:  # else Lightning writes the values of the step after this callback
            trainer._logger_connector.update_train_step_metrics()
        self._stop()

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        self._stop()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._is_training = False
        self._stop()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self._is_training = False

    def _stop(self) -> None:
        if self._number is not None:
            raise Stopped(self._number)


class SharedStop(Callback):
    """Lightning callback, before all others, by which the processes of a run stop after the same step.

    Args:
        signals: handler of the signals of this process.
    """

    def __init__(self, signals: StopSignals) -> None:
        self._signals = signals

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        self._signals.share()
