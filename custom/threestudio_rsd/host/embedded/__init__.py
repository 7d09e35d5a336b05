"""Stand-in for threestudio: the smallest host that runs the configs of this package, and others like them."""

from .base import BaseModule, BaseObject, Updateable, update_if_possible
from .cameras import RandomCameraDataModule, RandomCameraDataModuleConfig, RandomCameraIterableDataset
from .config import config_to_primitive, parse_structured
from .devices import get_device, get_rank
from .experiment import ExperimentConfig, load_config
from .lift3d import BaseLift3DSystem
from .messages import debug, info, warn
from .models import joint_rendering
from .models.exporter import Exporter, ExporterOutput
from .models.mesh import Mesh
from .optimizers import parse_optimizer, parse_scheduler
from .prompts import DirectionConfig, PromptProcessor, PromptProcessorOutput
from .registry import find, register
from .saving import SaverMixin
from .schedule import C
from .system import BaseSystem

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
