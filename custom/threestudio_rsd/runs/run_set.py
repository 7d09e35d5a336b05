"""Runs that belong together: how it stands with each, and computing those that are not finished."""

import fcntl
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..errors import UserError
from .run import Run
from .workers import Workers

FINISHED, FAILED, INTERRUPTED, BEGUN, WAITING = "finished", "failed", "interrupted", "begun", "waiting"
POLL_SECONDS = 0.2
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # Ctrl-C, kill, a closed terminal
USER_STOPPED = 130  # exit code of a program that Ctrl-C ended


@dataclass
class Outcome:
    """How it stands with a run.

    Attributes:
        state: FINISHED, FAILED, INTERRUPTED, BEGUN (has a checkpoint) or WAITING.
        error: the last line of its error, where it has failed.
        metrics: content of its save/metrics.json, where it has finished.
    """

    run: Run
    state: str
    error: str | None = None
    metrics: dict[str, Any] | None = None


class RunSet:
    """Runs, and how it stands with each of them.

    Args:
        runs: each with a tag of its own.
        errors: of runs that an earlier start has seen fail, by tag.
    """

    def __init__(self, runs: Sequence[Run], errors: Mapping[str, str] | None = None) -> None:
        self.outcomes = {run.tag: _standing(run, (errors or {}).get(run.tag)) for run in runs}

    def end(self, run: Run, code: int, stopped: bool) -> Outcome:
        """Note that a run's process has ended, with this exit code, after the user stopped the runs or not."""
        metrics = run.metrics()
        if metrics is not None:
            outcome = Outcome(run, FINISHED, metrics=metrics)
        elif stopped:
            outcome = Outcome(run, INTERRUPTED)
        else:
            outcome = Outcome(run, FAILED, error=run.failure(code))
        self.outcomes[run.tag] = outcome
        self.write()
        return outcome

    def of_state(self, *states: str) -> list[Outcome]:
        return [outcome for outcome in self.outcomes.values() if outcome.state in states]

    def write(self) -> None:
        """Write down how it stands; called whenever a run has ended."""

    def compute(self, workers: Workers, total: int, description: str) -> bool:
        """Have the workers compute their runs, `total` in number; returns whether the user has stopped them."""
        stops: list[int] = []
        heard = [each for each in SIGNALS if signal.getsignal(each) != signal.SIG_IGN]  # nohup ignores SIGHUP
        former = {each: signal.signal(each, lambda number, _: stops.append(number)) for each in heard}
        handled = 0
        try:
            with tqdm(total=total, unit="run", desc=description, dynamic_ncols=True) as bar:
                while workers.busy:
                    for run, code in workers.poll():
                        outcome = self.end(run, code, stopped=bool(stops))
                        bar.update()
                        bar.write(f"{outcome.state:<11} {run.tag}" + (f": {outcome.error}" if outcome.error else ""))
                    if len(stops) > handled:
                        if handled == 0:
                            bar.write("Stopping: runs save and end; press Ctrl-C again to end them at once.")
                            workers.stop()
                        else:
                            workers.kill()
                        handled = len(stops)
                    time.sleep(POLL_SECONDS)
        finally:
            if workers.busy:  # an error of ours, such as a full disk
                workers.stop()
            for each, handler in former.items():
                signal.signal(each, handler)
        return bool(stops)

    def describe_failures(self) -> list[str]:
        """Lines for a terminal that say what has failed and why, and how to go on."""
        failed, lines = self.of_state(FAILED), []
        if failed:
            lines.append(f"\n{len(failed)} failed:")
            for outcome in failed:
                lines.append(f"  {outcome.run.tag}\n    {outcome.error}\n    log: {outcome.run.log}")
        if len(self.of_state(FINISHED)) < len(self.outcomes):
            lines.append("The same command goes on with what is not finished.")
        return lines


@contextmanager
def hold_folder(output: Path) -> Iterator[None]:
    """Hold the folder; raise UserError where another command does. The lock ends with the process."""
    with (output / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"--output={str(output)!r} is in use by another sweep; choose another one.") from error
        except OSError:
            pass  # a file system without locks
        yield


def _standing(run: Run, error: str | None) -> Outcome:
    """How it stands with a run before it is started; `error`: of its last start, if it failed."""
    metrics = run.metrics()
    if metrics is not None:
        return Outcome(run, FINISHED, metrics=metrics)
    if error is not None:
        return Outcome(run, FAILED, error=error)
    return Outcome(run, BEGUN if run.checkpoint.is_file() else WAITING)
