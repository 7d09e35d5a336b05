"""The real threestudio, under the names of the seam."""

from typing import Any

from threestudio import debug, find, info, register, warn
from threestudio.data.uncond import (
    RandomCameraDataModule,
    RandomCameraDataModuleConfig,
    RandomCameraIterableDataset,
)
from threestudio.models.exporters.base import Exporter, ExporterOutput
from threestudio.models.mesh import Mesh
from threestudio.models.prompt_processors.base import DirectionConfig, PromptProcessor, PromptProcessorOutput
from threestudio.systems.base import BaseLift3DSystem, BaseSystem
from threestudio.systems.utils import parse_optimizer, parse_scheduler
from threestudio.utils.base import BaseModule, BaseObject, Updateable, update_if_possible
from threestudio.utils.config import ExperimentConfig, config_to_primitive, load_config, parse_structured
from threestudio.utils.misc import C, get_device, get_rank
from threestudio.utils.saving import SaverMixin

joint_rendering: Any = None  # its renderers draw one scene at a time

__all__ = [
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
