"""Silencing of the messages and progress bars of libraries."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any


@contextmanager
def quiet_models() -> Iterator[None]:
    """Context in which transformers and diffusers load models without reports and progress bars."""
    import diffusers.utils.logging
    import transformers.utils.logging

    with ExitStack() as stack:
        for logging in (transformers.utils.logging, diffusers.utils.logging):
            stack.enter_context(_quiet(logging))
        yield


@contextmanager
def _quiet(logging: Any) -> Iterator[None]:
    verbosity, had_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if had_bars:
            logging.enable_progress_bar()
