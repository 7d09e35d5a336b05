"""The names of `host.__all__` in the stand-in, whose modules are registered by this import."""
# ruff: noqa: F401 imported by host/__init__.py

from ..standalone import models
from ..standalone.data.uncond import RandomCameraDataModule, RandomCameraDataModuleConfig, RandomCameraIterableDataset
from ..standalone.models.exporters import Exporter, ExporterOutput
from ..standalone.models.mesh import Mesh
from ..standalone.models.prompt_processors import DirectionConfig, PromptProcessor, PromptProcessorOutput
from ..standalone.models.renderers import joint_rendering
from ..standalone.systems.base import BaseLift3DSystem, BaseSystem
from ..standalone.systems.optimizers import parse_optimizer, parse_scheduler
from ..standalone.utils.base import BaseModule, BaseObject, Updateable, update_if_possible
from ..standalone.utils.config import config_to_primitive, parse_structured
from ..standalone.utils.experiment import ExperimentConfig, load_config
from ..standalone.utils.messages import debug, info, warn
from ..standalone.utils.misc import C, get_device, get_rank
from ..standalone.utils.registry import find, register
from ..standalone.utils.saving import SaverMixin
