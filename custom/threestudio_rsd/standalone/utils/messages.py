"""What the host tells the user; only the process of rank 0 speaks."""

import logging

from pytorch_lightning.utilities.rank_zero import rank_zero_only

logger = logging.getLogger("threestudio_rsd")


@rank_zero_only
def debug(*args, **kwargs) -> None:
    logger.debug(*args, **kwargs)


@rank_zero_only
def info(*args, **kwargs) -> None:
    logger.info(*args, **kwargs)


@rank_zero_only
def warn(*args, **kwargs) -> None:
    logger.warning(*args, **kwargs)
