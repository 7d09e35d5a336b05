"""Score distillation: the base methods, their repulsive ensemble, timestep schedules and weights."""

from .esd import ESD, esd_direction
from .held_target import HeldTarget
from .kernel_input import KERNEL_INPUTS, select_kernel_input
from .method import CameraCondition, Method, Step
from .nfsd import NFSD, nfsd_direction
from .noise import NOISE_KINDS, NoiseSource, couple_noise, refresh_noise
from .noise_selection import select_distant, select_noise
from .rsd import RepulsiveDistillation, RepulsiveGradient, loss_with_gradient
from .sds import SDS
from .svgd import SVGD, svgd_direction
from .timesteps import TimestepSchedule
from .trajectories import DSD, descending_grid, follow_flow, invert_noise, simulate_noise
from .vsd import VSD
from .weights import EXACT, exact_step, force_scale, timestep_weight
from .world_map import WorldMapNoise, world_map_share

__all__ = [
    "DSD",
    "ESD",
    "EXACT",
    "KERNEL_INPUTS",
    "NFSD",
    "NOISE_KINDS",
    "SDS",
    "SVGD",
    "VSD",
    "CameraCondition",
    "HeldTarget",
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
    "follow_flow",
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
