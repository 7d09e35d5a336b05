"""A run in a process of its own, followed through the files that it writes."""

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import UserError
from ..runs.processes import start_in_session, visible_gpus
from ..runs.run import error_sentence, last_log
from ..runs.trial import Curve, read_logs

POLL_SECONDS = 0.3
MESSAGE_SECONDS = 2.0  # between two messages without a new picture
CURVES = ("diversity_", "residual", "psnr")  # beginnings of the names of the curves that are shown
STOPPED = (130, 143, 129)  # exit codes after SIGINT, SIGTERM and SIGHUP


@dataclass
class Progress:
    """State of a run.

    Attributes:
        message: sentence about the state.
        picture: the newest picture of the particles; None: there is none yet.
        curves: values over the steps, by name.
        files: files to download, once the run has ended.
        is_finished: whether the run has ended.
    """

    message: str
    picture: Path | None = None
    curves: dict[str, Curve] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    is_finished: bool = False


class LiveRun:
    """Run of `rsd launch` that is followed while it computes.

    Args:
        arguments: arguments of `rsd`, see `launch_command`.
        folder: trial folder of the run.
    """

    def __init__(self, arguments: Sequence[str], folder: Path) -> None:
        self.folder = folder
        self._log = folder.with_name(f"{folder.name}.log")
        self._log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "threestudio_rsd.cli", *arguments]
        self._process = start_in_session(command, self._log, dict(os.environ), on_gpu=bool(visible_gpus()))
        self._is_stopping = False

    def stop(self) -> None:
        """Let the run save and end; `follow` sends the signal, because a process is used by one thread only."""
        self._is_stopping = True

    def follow(self) -> Iterator[Progress]:
        """Yield the state whenever a new picture or a new value is there, and once at the end.

        Raises:
            UserError: the run has failed; with the sentence that it printed.
        """
        started = time.monotonic()
        try:
            yield from self._watch(started)
        finally:  # also where nobody follows any more, because the page was closed
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGINT)
        code = self._process.poll() or 0
        is_stopped = self._is_stopping or code in STOPPED  # also before its handlers of signals were there
        if code and not is_stopped:
            raise UserError(self._failure())
        message = "Stopped." if is_stopped else f"Finished in {time.monotonic() - started:.0f} s."
        yield Progress(message, newest_picture(self.folder), _shown(self._logged()), self._files(), is_finished=True)

    def _watch(self, started: float) -> Iterator[Progress]:
        """Yield the state of the run until it ends."""
        shown: tuple[Path | None, int, int] | None = None
        is_signaled = False
        while self._process.poll() is None:
            if self._is_stopping and not is_signaled:
                is_signaled = True
                self._process.send_signal(signal.SIGINT)
            picture, logged = newest_picture(self.folder), self._logged()
            seconds = time.monotonic() - started
            found = picture, sum(map(len, logged.values())), int(seconds / MESSAGE_SECONDS)
            if found != shown:
                shown = found
                yield Progress(_message(logged, seconds), picture, _shown(logged))
            time.sleep(POLL_SECONDS)

    def _logged(self) -> dict[str, Curve]:
        try:
            return read_logs(self.folder / "csv_logs")
        except UserError:  # a line is being written
            return {}

    def _failure(self) -> str:
        return error_sentence(last_log(self._log)) or f"The run has failed; {self._log} says why."

    def _files(self) -> list[Path]:
        """Pictures, videos, meshes, metrics and config, and an archive of all results."""
        save = self.folder / "save"
        patterns = ("it*-test*.png", "it*.mp4", "*.obj", "*.glb", "metrics.json")
        files = [file for pattern in patterns for file in sorted(save.glob(pattern))]
        config = self.folder / "configs" / "parsed.yaml"
        if not save.is_dir():
            return [file for file in (config,) if file.is_file()]
        archive = shutil.make_archive(str(self.folder / "results"), "zip", save)
        return [*files, *([config] if config.is_file() else []), Path(archive)]


def _shown(logged: dict[str, Curve]) -> dict[str, Curve]:
    return {name: curve for name, curve in logged.items() if name.startswith(CURVES)}


def _message(logged: dict[str, Curve], seconds: float) -> str:
    steps = [curve[-1][0] + 1 for curve in logged.values() if curve]
    return f"Step {max(steps)}, {seconds:.0f} s." if steps else f"Starting, {seconds:.0f} s."


def newest_picture(folder: Path) -> Path | None:
    """Newest picture of all particles in a trial folder; None if there is none.

    Args:
        folder: trial folder.
    """
    save = folder / "save"
    found = [*save.glob("it*-val.png"), *save.glob("it*-val-0.png"), *save.glob("it*-test.png")]
    found += save.glob("it*-test-sheet.png")
    return max(found, key=lambda file: file.stat().st_mtime_ns, default=None)
