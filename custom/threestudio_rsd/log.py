"""Messages of the plain-PyTorch folders, in the same log as those of the hosts."""

import logging
import os

logger = logging.getLogger("threestudio_rsd")


def warn(message: str) -> None:
    """Log a warning, in the first of several processes only."""
    if os.environ.get("LOCAL_RANK", "0") == "0":
        logger.warning(message)
