"""Names that the registered modules import from threestudio, or from its stand-in where there is no threestudio.

threestudio is used if Python can import it, and errors of that import are shown as they are; otherwise the stand-in
(`threestudio_rsd.standalone`) is used. The environment variable RSD_HOST=threestudio|embedded overrides this choice;
`embedded` is the stand-in.
"""
# ruff: noqa: F403, F405 the names come from one of two modules

import importlib.util
import os
from typing import TYPE_CHECKING

from ..errors import one_of


def choose_host() -> str:
    """Return `threestudio` or `embedded`, the stand-in.

    Raises:
        UserError: RSD_HOST has another value.
    """
    wish = os.environ.get("RSD_HOST")
    if wish:
        one_of("RSD_HOST", wish, ("threestudio", "embedded"))
        return wish
    spec = importlib.util.find_spec("threestudio")
    # A folder of that name in the working directory, such as a clone, is a namespace package without origin.
    return "threestudio" if spec is not None and spec.origin is not None else "embedded"


HOST = choose_host()

if TYPE_CHECKING or HOST == "embedded":
    from .standalone import *
else:
    from .threestudio import *

# Both modules must offer these; tests/host/contract.py checks it.
__all__ = [
    "HOST", "BaseLift3DSystem", "BaseModule", "BaseObject", "BaseSystem", "C", "DirectionConfig", "ExperimentConfig",
    "Exporter", "ExporterOutput", "Mesh", "PromptProcessor", "PromptProcessorOutput", "RandomCameraDataModule",
    "RandomCameraDataModuleConfig", "RandomCameraIterableDataset", "SaverMixin", "Updateable", "choose_host",
    "config_to_primitive", "debug", "find", "get_device", "get_rank", "info", "joint_rendering", "load_config",
    "parse_optimizer", "parse_scheduler", "parse_structured", "register", "update_if_possible", "warn",
]  # fmt: skip
