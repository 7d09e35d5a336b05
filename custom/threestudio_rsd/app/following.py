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
from ..runs.preloaded import Fork
from ..runs.trial import Curve, read_logs

POLL_SECONDS = 0.3
ERROR = "rsd: error: "  # beginning of the line that the command line prints for a mistake
CURVES = ("diversity_", "residual", "psnr")  # beginnings of the names of the curves that are shown
STOPPED = {130: "Stopped.", 143: "Stopped.", 129: "Stopped."}


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
        self._process = Fork(command, self._log, dict(os.environ))

    def stop(self) -> None:
        """Let the run save and end."""
        self._process.send_signal(signal.SIGINT)

    def follow(self) -> Iterator[Progress]:
        """Yield the state whenever a new picture or a new value is there, and once at the end.

        Raises:
            UserError: the run has failed; with the sentence that it printed.
        """
        shown: tuple[Path | None, int] | None = None
        started = time.monotonic()
        while (code := self._process.poll()) is None:
            picture, curves = newest_picture(self.folder), self._curves()
            seconds = time.monotonic() - started
            found = picture, sum(map(len, curves.values()))
            if found != shown:
                shown = found
                yield Progress(self._message(curves, seconds), picture, curves)
            time.sleep(POLL_SECONDS)
        if code not in (0, *STOPPED):
            raise UserError(self._failure())
        message = STOPPED.get(code, f"Finished in {time.monotonic() - started:.0f} s.")
        yield Progress(message, newest_picture(self.folder), self._curves(), self._files(), is_finished=True)

    def _curves(self) -> dict[str, Curve]:
        try:
            curves = read_logs(self.folder / "csv_logs")
        except UserError:  # a line is being written
            return {}
        return {name: curve for name, curve in curves.items() if name.startswith(CURVES)}

    def _message(self, curves: dict[str, Curve], seconds: float) -> str:
        steps = [curve[-1][0] + 1 for curve in curves.values() if curve]
        return f"Step {max(steps)}, {seconds:.0f} s." if steps else f"Starting, {seconds:.0f} s."

    def _failure(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        sentences = [line.removeprefix(ERROR) for line in lines if line.startswith(ERROR)]
        return sentences[-1] if sentences else f"The run has failed; {self._log} says why."

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


def newest_picture(folder: Path) -> Path | None:
    """Newest picture of all particles in a trial folder; None if there is none.

    Args:
        folder: trial folder.
    """
    save = folder / "save"
    found = [*save.glob("it*-val.png"), *save.glob("it*-val-0.png"), *save.glob("it*-test.png")]
    found += save.glob("it*-test-sheet.png")
    return max(found, key=lambda file: file.stat().st_mtime_ns, default=None)
