"""What the host tells the user; only the process of rank 0 speaks."""

import logging
import os
import sys
import warnings
from typing import TextIO

from pytorch_lightning.utilities.rank_zero import rank_zero_only

logger = logging.getLogger("threestudio_rsd")

NOISE = (
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
)


@rank_zero_only
def debug(*args, **kwargs) -> None:
    logger.debug(*args, **kwargs)


@rank_zero_only
def info(*args, **kwargs) -> None:
    logger.info(*args, **kwargs)


@rank_zero_only
def warn(*args, **kwargs) -> None:
    logger.warning(*args, **kwargs)


class StderrHandler(logging.StreamHandler):
    """Writes to whatever sys.stderr is when a message comes: progress bars, notebooks and tests replace it."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, stream: TextIO) -> None:
        """The base class sets it once; there is nothing to keep."""


def set_up_messages(verbose: bool) -> None:
    """Our own messages on stderr; with `verbose` also those of the libraries.

    To be called before transformers and diffusers are imported, for they read the environment then.
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
    """No bars for the reading of weights; those of downloads stay."""
    import diffusers.utils.logging
    import transformers.utils.logging
    from huggingface_hub.utils import enable_progress_bars

    transformers.utils.logging.disable_progress_bar()
    diffusers.utils.logging.disable_progress_bar()
    if os.environ.get("HF_HUB_DISABLE_PROGRESS_BARS") != "1":
        enable_progress_bars()
