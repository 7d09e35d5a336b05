"""The curves of a run in one CSV file, also where it is interrupted and resumed."""

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from ...files import whole_file

FILE = "csv_logs/version_0/metrics.csv"  # name that Lightning's logger gives to the first run of a folder
STEP = "step"


class CurveLogger(Logger):
    """Lightning logger that appends each row to the file at once, so that nothing is lost if the process is killed.

    Args:
        trial_dir: trial folder.
        first_step: step at which the run begins; rows of it and of later steps, of an interrupted run, are removed.
    """

    def __init__(self, trial_dir: str, first_step: int = 0) -> None:
        super().__init__()
        self.path = Path(trial_dir, FILE)
        self._first_step = first_step
        self._columns: list[str] | None = None  # None: the file was not opened yet

    @property
    def name(self) -> str:
        return self.path.parts[-3]

    @property
    def version(self) -> int:
        return 0

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        pass

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append a row.

        Args:
            metrics: values by name.
            step: training step.
        """
        if self._columns is None:
            self._columns = self._continue()
        row = {**{name: float(value) for name, value in metrics.items()}, STEP: step}
        if not row.keys() <= set(self._columns):
            self._columns = sorted({*self._columns, *row})
            self._write(self._read())
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self._columns).writerow(row)

    def _continue(self) -> list[str]:
        """Remove what an interrupted run logged after its checkpoint; returns the columns of the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        kept = [row for row in self._read() if _step(row) < self._first_step]
        self._columns = sorted({STEP, *(name for row in kept for name in row)})
        self._write(kept)
        return self._columns

    def _read(self) -> list[dict[str, str]]:
        """Complete rows of the file; none if there is no file."""
        if not self.path.is_file():
            return []
        text = self.path.read_text(encoding="utf-8", errors="replace")
        lines = text[: text.rfind("\n") + 1].splitlines()  # the last line may have been cut
        return [{name: value for name, value in row.items() if name and value} for row in csv.DictReader(lines)]

    def _write(self, rows: list[dict[str, str]]) -> None:
        with whole_file(self.path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._columns or [STEP])
            writer.writeheader()
            writer.writerows(rows)


class StepNumbers(Callback):
    """Callback that numbers the logged steps of a resumed run as those of an uninterrupted one.

    A checkpoint is saved before Lightning increases its own counter.
    """

    def __init__(self) -> None:
        self._is_first = True

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if self._is_first:
            trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step
            self._is_first = False


def _step(row: Mapping[str, str]) -> float:
    try:
        return float(row[STEP])
    except (KeyError, ValueError):  # a damaged row
        return math.inf
