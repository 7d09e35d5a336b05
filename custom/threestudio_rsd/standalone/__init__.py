"""Stand-in for threestudio: the smallest host that runs the configs of this package, and others like them."""

from .data.uncond import RandomCameraDataModule, RandomCameraDataModuleConfig, RandomCameraIterableDataset
from .models.exporters import Exporter, ExporterOutput
from .models.mesh import Mesh
from .models.prompt_processors import DirectionConfig, PromptProcessor, PromptProcessorOutput
from .models.renderers import joint_rendering
from .systems.base import BaseSystem
from .systems.lift3d import BaseLift3DSystem
from .systems.optimizers import parse_optimizer, parse_scheduler
from .utils.base import BaseModule, BaseObject, Updateable, update_if_possible
from .utils.config import config_to_primitive, parse_structured
from .utils.experiment import ExperimentConfig, load_config
from .utils.messages import debug, info, warn
from .utils.misc import get_device, get_rank
from .utils.registry import find, register
from .utils.saving import SaverMixin
from .utils.schedule import C

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
