"""Score distillation: the base methods, their repulsive ensemble, timestep schedules and weights."""

from .esd import ESD, esd_direction
from .kernel_input import KERNEL_INPUTS, select_kernel_input
from .method import CameraCondition, Method, Step
from .nfsd import NFSD, nfsd_direction
from .rsd import RepulsiveDistillation, RepulsiveGradient, loss_with_gradient
from .sds import SDS
from .svgd import SVGD, svgd_direction
from .timesteps import TimestepSchedule
from .vsd import VSD
from .weights import force_scale, timestep_weight

__all__ = [
    "ESD",
    "KERNEL_INPUTS",
    "NFSD",
    "SDS",
    "SVGD",
    "VSD",
    "CameraCondition",
    "Method",
    "RepulsiveDistillation",
    "RepulsiveGradient",
    "Step",
    "TimestepSchedule",
    "esd_direction",
    "force_scale",
    "loss_with_gradient",
    "nfsd_direction",
    "select_kernel_input",
    "svgd_direction",
    "timestep_weight",
]
