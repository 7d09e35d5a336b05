"""A set of runs: the state of each, and computing those that are not finished."""

import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..files import locked_folder
from ..signals import accepted_signals
from .run import Run
from .workers import Workers

FINISHED, FAILED, INTERRUPTED, BEGUN, WAITING = "finished", "failed", "interrupted", "begun", "waiting"
POLL_SECONDS = 0.2


@dataclass
class Outcome:
    """State of a run.

    Attributes:
        run: the run.
        state: FINISHED, FAILED, INTERRUPTED, BEGUN (has a checkpoint) or WAITING.
        error: last line of the error of a failed run.
        metrics: content of save/metrics.json of a finished run.
    """

    run: Run
    state: str
    error: str | None = None
    metrics: dict[str, Any] | None = None


class RunSet:
    """Runs with their states.

    Args:
        runs: runs with different tags.
        errors: errors of runs that failed in an earlier start, by tag.
    """

    def __init__(self, runs: Sequence[Run], errors: Mapping[str, str] | None = None) -> None:
        self.outcomes = {run.tag: _initial_outcome(run, (errors or {}).get(run.tag)) for run in runs}

    def end(self, run: Run, code: int, stopped: bool) -> Outcome:
        """Record the end of a run's process.

        Args:
            run: the run.
            code: exit code of the process.
            stopped: whether the user stopped the runs before.

        Returns:
            The run's new state.
        """
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
        """The runs that are in one of these states."""
        return [outcome for outcome in self.outcomes.values() if outcome.state in states]

    def write(self) -> None:
        """Write a record of all states; called whenever a run has ended. The base class writes none."""

    def compute(self, workers: Workers, total: int, description: str) -> int:
        """Wait until the workers have computed their runs.

        The first SIGINT (Ctrl-C), SIGTERM or SIGHUP is handed on to the runs, which save and end; a second one kills
        them.

        Args:
            workers: workers that were given runs of this set.
            total: number of their runs.
            description: text in front of the progress bar.

        Returns:
            0; 128 plus the number of the signal that stopped the runs: 130, 143 or 129.
        """
        stops: list[int] = []
        former = {each: signal.signal(each, lambda number, _: stops.append(number)) for each in accepted_signals()}
        handled = 0
        try:
            with tqdm(total=total, unit="run", desc=description, dynamic_ncols=True) as bar:
                while workers.busy:
                    for run, code in workers.poll():
                        outcome = self.end(run, code, stopped=bool(stops))
                        bar.update()
                        bar.write(describe(outcome))
                    if len(stops) > handled and handled == 0:
                        bar.write("Stopping: runs save and end; press Ctrl-C again to end them at once.")
                        workers.stop(stops[0])
                    elif len(stops) > handled:
                        workers.kill()
                    handled = len(stops)
                    time.sleep(POLL_SECONDS)
        finally:
            if workers.busy:  # after an error of this process, such as a full disk
                workers.stop()
            for each, handler in former.items():
                signal.signal(each, handler)
        return 128 + stops[0] if stops else 0

    def describe_failures(self) -> list[str]:
        """Lines for a terminal: the failed runs with their errors and logs, and how to continue."""
        failed, lines = self.of_state(FAILED), []
        if failed:
            lines.append(f"\n{len(failed)} failed:")
            lines += [f"  {each.run.tag}\n    {each.error}\n    log: {each.run.log}" for each in failed]
        if len(self.of_state(FINISHED)) < len(self.outcomes):
            lines.append("The same command continues with what is not finished.")
        return lines


def describe(outcome: Outcome) -> str:
    """Line for a terminal: state and tag of a run, and its error."""
    return f"{outcome.state:<11} {outcome.run.tag}" + (f": {outcome.error}" if outcome.error else "")


def hold_folder(output: Path) -> AbstractContextManager[None]:
    """Lock a folder within the `with` block; the lock also ends with the process.

    Args:
        output: folder.

    Raises:
        UserError: another command has locked it.
    """
    in_use = f"--output={str(output)!r} is in use by another sweep ({{owner}}); choose another one."
    return locked_folder(output, in_use)


def _initial_outcome(run: Run, error: str | None) -> Outcome:
    """State of a run before it is started; `error` is that of its last start, if it failed."""
    metrics = run.metrics()
    if metrics is not None:
        return Outcome(run, FINISHED, metrics=metrics)
    if error is not None:
        return Outcome(run, FAILED, error=error)
    return Outcome(run, BEGUN if run.checkpoint.is_file() else WAITING)
