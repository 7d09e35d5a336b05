"""The seam: everything the registered modules need from a host, whichever host there is.

A `threestudio` package that Python can find is the host, and errors of its import are shown as they are. Without
one, the embedded host serves. The environment variable RSD_HOST=threestudio|embedded overrides.
"""

import importlib.util
import os

from ..errors import one_of


def choose_host() -> str:
    """Name of the host to use: `threestudio` or `embedded`.

    Raises:
        UserError: RSD_HOST has another value.
    """
    wish = os.environ.get("RSD_HOST")
    if wish:
        one_of("RSD_HOST", wish, ("threestudio", "embedded"))
        return wish
    spec = importlib.util.find_spec("threestudio")
    # A folder of that name that merely lies in the working directory (a clone) is a namespace package: no origin.
    return "threestudio" if spec is not None and spec.origin is not None else "embedded"


HOST = choose_host()

if HOST == "threestudio":
    from .threestudio import (
        BaseLift3DSystem,
        BaseModule,
        BaseObject,
        BaseSystem,
        C,
        DirectionConfig,
        ExperimentConfig,
        Exporter,
        ExporterOutput,
        Mesh,
        PromptProcessor,
        PromptProcessorOutput,
        RandomCameraDataModule,
        RandomCameraDataModuleConfig,
        RandomCameraIterableDataset,
        SaverMixin,
        Updateable,
        config_to_primitive,
        debug,
        find,
        get_device,
        get_rank,
        info,
        joint_rendering,
        load_config,
        parse_optimizer,
        parse_scheduler,
        parse_structured,
        register,
        update_if_possible,
        warn,
    )
else:
    from ..standalone import (
        BaseLift3DSystem,
        BaseModule,
        BaseObject,
        BaseSystem,
        C,
        DirectionConfig,
        ExperimentConfig,
        Exporter,
        ExporterOutput,
        Mesh,
        PromptProcessor,
        PromptProcessorOutput,
        RandomCameraDataModule,
        RandomCameraDataModuleConfig,
        RandomCameraIterableDataset,
        SaverMixin,
        Updateable,
        config_to_primitive,
        debug,
        find,
        get_device,
        get_rank,
        info,
        joint_rendering,
        load_config,
        parse_optimizer,
        parse_scheduler,
        parse_structured,
        register,
        update_if_possible,
        warn,
    )

__all__ = [
    "HOST",
    "BaseLift3DSystem",
    "BaseModule",
    "BaseObject",
    "BaseSystem",
    "C",
    "DirectionConfig",
    "ExperimentConfig",
    "Exporter",
    "ExporterOutput",
    "Mesh",
    "PromptProcessor",
    "PromptProcessorOutput",
    "RandomCameraDataModule",
    "RandomCameraDataModuleConfig",
    "RandomCameraIterableDataset",
    "SaverMixin",
    "Updateable",
    "choose_host",
    "config_to_primitive",
    "debug",
    "find",
    "get_device",
    "get_rank",
    "info",
    "joint_rendering",
    "load_config",
    "parse_optimizer",
    "parse_scheduler",
    "parse_structured",
    "register",
    "update_if_possible",
    "warn",
]
