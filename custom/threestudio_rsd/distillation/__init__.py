"""How one particle follows a prior, and how an ensemble follows it with repulsion."""

from .esd import ESD, esd_direction
from .loss import loss_with_gradient
from .method import Method, Step, Views
from .nfsd import NFSD, nfsd_direction
from .rsd import RepulsiveDistillation, RepulsiveGradient
from .sds import SDS
from .svgd import SVGD, svgd_direction
from .timesteps import TimestepSchedule
from .vsd import VSD
from .weights import force_scale, timestep_weight

__all__ = [
    "ESD",
    "NFSD",
    "SDS",
    "SVGD",
    "VSD",
    "Method",
    "RepulsiveDistillation",
    "RepulsiveGradient",
    "Step",
    "TimestepSchedule",
    "Views",
    "esd_direction",
    "force_scale",
    "loss_with_gradient",
    "nfsd_direction",
    "svgd_direction",
    "timestep_weight",
]
