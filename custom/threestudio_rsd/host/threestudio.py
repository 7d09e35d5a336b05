"""The names of `host.__all__` in threestudio 0.2.3."""
# ruff: noqa: F401 imported by host/__init__.py

from dataclasses import dataclass
from typing import Any

from threestudio import debug, find, info, register, warn
from threestudio.data.uncond import RandomCameraDataModule, RandomCameraDataModuleConfig, RandomCameraIterableDataset
from threestudio.models.exporters.base import Exporter, ExporterOutput
from threestudio.models.mesh import Mesh
from threestudio.models.prompt_processors.base import DirectionConfig, PromptProcessor, PromptProcessorOutput
from threestudio.systems import base as systems
from threestudio.systems.utils import parse_optimizer, parse_scheduler
from threestudio.utils.base import BaseModule, BaseObject, Updateable, update_if_possible
from threestudio.utils.config import ExperimentConfig, config_to_primitive, load_config, parse_structured
from threestudio.utils.misc import C, get_device, get_rank
from threestudio.utils.saving import SaverMixin

from ..particles.finite_updates import STOP, FiniteUpdates


class BaseSystem(FiniteUpdates, systems.BaseSystem):
    """threestudio's base class, with the check for numbers that are not finite."""

    @dataclass
    class Config(systems.BaseSystem.Config):
        nonfinite: str = STOP  # stop, or skip: see the stand-in

    cfg: Config


class BaseLift3DSystem(FiniteUpdates, systems.BaseLift3DSystem):
    """threestudio's base class for 3D, with the check for numbers that are not finite."""

    @dataclass
    class Config(systems.BaseLift3DSystem.Config):
        nonfinite: str = STOP  # stop, or skip: see the stand-in

    cfg: Config


joint_rendering: Any = None  # threestudio renders one scene at a time
