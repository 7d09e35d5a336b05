"""Messages to the user, and filters for messages of libraries that a user cannot act on.

With several processes, only that of rank 0 prints.
"""

import logging
import os
import sys
import warnings
from typing import Any, TextIO

from pytorch_lightning.utilities.rank_zero import rank_zero_only

logger = logging.getLogger("threestudio_rsd")

NOISE = (  # patterns of warnings that are hidden
    r".*does not have many workers.*",
    r".*Checkpoint directory .* exists and is not empty.*",
    r".*no `val_dataloader`.*",
    r".*is smaller than the logging interval.*",
    r".*`IterableDataset` has `__len__` defined.*",
    r".*GPU available but not used.*",
    r".*Trying to infer the `batch_size`.*",
    r".*mid-epoch.*",
    r".*loaded checkpoint was.*",
    r".*isinstance\(treespec, LeafSpec\).*",
    r".*LeafSpec.*",
    r".*pkg_resources.*",
    r".*Missing logger folder.*",
    r".*Total length of `CombinedLoader` across ranks is zero.*",
    r".*callbacks used to create the checkpoint need to be provided.*",
    r".*predict returned None.*",
    r".*Found keys that are.*in the model state dict but not in the checkpoint.*",
    r".*does not support `weights_only`.*",
    r".*`training_step` returned `None`.*",
    r".*lr_scheduler\.step\(\)` before `optimizer\.step\(\).*",
    r".*no pre-optimization state was saved.*",  # by checkpoints of systems that optimize by themselves
)


@rank_zero_only
def debug(*args: Any, **kwargs: Any) -> None:
    """Log a message that only `--verbose` shows."""
    logger.debug(*args, **kwargs)


@rank_zero_only
def info(*args: Any, **kwargs: Any) -> None:
    """Log a message."""
    logger.info(*args, **kwargs)


@rank_zero_only
def warn(*args: Any, **kwargs: Any) -> None:
    """Log a warning."""
    logger.warning(*args, **kwargs)


class StderrHandler(logging.StreamHandler):
    """Logging handler that looks up sys.stderr for each message: progress bars, notebooks and tests replace it."""

    @property
    def stream(self) -> TextIO:
        """The present sys.stderr."""
        return sys.stderr

    @stream.setter
    def stream(self, stream: TextIO) -> None:
        """Ignore the stream that the base class sets."""


def set_up_messages(verbose: bool) -> None:
    """Print our messages on stderr and hide those of libraries.

    Call it before transformers and diffusers are imported, because they read the environment at import.

    Args:
        verbose: print debug messages and those of libraries, too.
    """
    if not logger.handlers:
        handler = StderrHandler()
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
        logger.propagate = False
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if verbose:
        return
    for name in ("TRANSFORMERS_VERBOSITY", "DIFFUSERS_VERBOSITY"):
        os.environ.setdefault(name, "error")
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in NOISE:
        warnings.filterwarnings("ignore", message=message)
    _hide_loading_bars()
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)


def _hide_loading_bars() -> None:
    """Hide the progress bars of loading weights, but not those of downloads."""
    import diffusers.utils.logging
    import transformers.utils.logging
    from huggingface_hub.utils import enable_progress_bars

    transformers.utils.logging.disable_progress_bar()
    diffusers.utils.logging.disable_progress_bar()
    if os.environ.get("HF_HUB_DISABLE_PROGRESS_BARS") != "1":
        enable_progress_bars()
