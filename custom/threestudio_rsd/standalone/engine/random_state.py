"""State of the global random generators in checkpoints, so that a resumed run equals an uninterrupted one."""

import random
from typing import Any

import numpy as np
import torch
from pytorch_lightning.callbacks import Callback


class RandomState(Callback):
    """Lightning callback that saves the state with each checkpoint, and restores it after each validation."""

    def __init__(self) -> None:
        self._to_restore: dict | None = None
        self._after_step: dict | None = None

    def state_dict(self) -> dict:
        # A checkpoint that is saved at a validation continues after the training step before it.
        return self._to_restore or self._after_step or random_state()

    def load_state_dict(self, state_dict: dict) -> None:
        self._to_restore = state_dict

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        # Not earlier, because data loaders draw a seed when they start.
        if self._to_restore is not None:
            set_random_state(self._to_restore)
            self._to_restore = None

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        # Not later, because Lightning 2.0 starts the data loader of a validation before on_validation_start.
        self._after_step = random_state()

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        if self._after_step is not None and self._to_restore is None:
            set_random_state(self._after_step)


def random_state() -> dict:
    """Return the state of the generators of Python, NumPy and torch, as tensors and plain values."""
    name, keys, *rest = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": (name, np.asarray(keys).tolist(), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: dict) -> None:
    """Set the generators of Python, NumPy and torch.

    Args:
        state: result of `random_state`. The states of GPUs are used if the number of GPUs is the same.
    """
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(state["torch"].cpu())
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda"]])
