"""Progress bar over all training steps, or over the batches of an evaluation."""

import sys
from typing import Any

from pytorch_lightning.callbacks import ProgressBar
from tqdm import tqdm

SECONDS_BETWEEN_LINES = 30  # if stderr is a file instead of a terminal


class StepProgressBar(ProgressBar):
    """Lightning callback that shows steps, steps per second, the time left and values logged with `prog_bar=True`."""

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True
        self._bar: tqdm | None = None

    def enable(self) -> None:
        self._enabled = True

    def disable(self) -> None:
        self._enabled = False

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        total = trainer.max_steps if trainer.max_steps and trainer.max_steps > 0 else None
        self._open("Training", total, trainer.global_step)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        if self._bar is not None:
            shown = {name: f"{value:.3g}" for name, value in trainer.progress_bar_metrics.items()}
            self._bar.set_postfix(shown, refresh=False)
            self._bar.update(trainer.global_step - self._bar.n)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._close()

    def on_test_start(self, trainer: Any, pl_module: Any) -> None:
        self._open("Testing", sum(trainer.num_test_batches))

    def on_test_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        self._advance()

    def on_test_end(self, trainer: Any, pl_module: Any) -> None:
        self._close()

    def on_predict_start(self, trainer: Any, pl_module: Any) -> None:
        self._open("Exporting", sum(trainer.num_predict_batches))

    def on_predict_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        self._advance()

    def on_predict_end(self, trainer: Any, pl_module: Any) -> None:
        self._close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self._close()

    def _open(self, description: str, total: float | None, initial: int = 0) -> None:
        if not self._enabled:
            return
        interval = 0.1 if sys.stderr.isatty() else SECONDS_BETWEEN_LINES
        self._bar = tqdm(
            desc=description,
            total=total,
            initial=initial,
            unit="step",
            file=sys.stderr,
            dynamic_ncols=True,
            mininterval=interval,
            maxinterval=max(interval, 10),
        )

    def _advance(self) -> None:
        if self._bar is not None:
            self._bar.update()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
