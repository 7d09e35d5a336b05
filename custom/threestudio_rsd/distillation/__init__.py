"""Score distillation: the base methods, their repulsive ensemble, timestep schedules and weights."""

from .esd import ESD, esd_direction
from .feature_decoder import FEATURE_DECODERS, LinearDecoder, feature_decoder
from .held_force import HeldForce
from .held_target import HeldTarget
from .kernel_input import KERNEL_INPUTS, select_kernel_input
from .method import CameraCondition, Method, Step
from .nfsd import NFSD, nfsd_direction
from .noises import (
    NOISE_KINDS,
    NoiseSource,
    WorldMapNoise,
    couple_noise,
    refresh_noise,
    select_distant,
    select_noise,
    world_map_share,
)
from .rsd import RepulsiveDistillation, RepulsiveGradient, force_by_view, loss_with_gradient
from .sds import SDS
from .svgd import SVGD, svgd_direction
from .timesteps import TimestepSchedule
from .trajectories import DSD, descending_grid, follow_flow, invert_noise, simulate_noise
from .vsd import VSD
from .weights import EXACT, exact_step, force_scale, timestep_weight

__all__ = [
    "DSD",
    "ESD",
    "EXACT",
    "FEATURE_DECODERS",
    "KERNEL_INPUTS",
    "NFSD",
    "NOISE_KINDS",
    "SDS",
    "SVGD",
    "VSD",
    "CameraCondition",
    "HeldForce",
    "HeldTarget",
    "LinearDecoder",
    "Method",
    "NoiseSource",
    "RepulsiveDistillation",
    "RepulsiveGradient",
    "Step",
    "TimestepSchedule",
    "WorldMapNoise",
    "couple_noise",
    "descending_grid",
    "esd_direction",
    "exact_step",
    "feature_decoder",
    "follow_flow",
    "force_by_view",
    "force_scale",
    "invert_noise",
    "loss_with_gradient",
    "nfsd_direction",
    "refresh_noise",
    "select_distant",
    "select_kernel_input",
    "select_noise",
    "simulate_noise",
    "svgd_direction",
    "timestep_weight",
    "world_map_share",
]
