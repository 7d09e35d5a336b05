"""Trajectories of the probability-flow ODE: followed (DDIM), simulated beside the particles (DSD), inverted (SDI)."""

from .dsd import DSD, simulate_noise
from .probability_flow import descending_grid, follow_flow
from .sdi import invert_noise

__all__ = ["DSD", "descending_grid", "follow_flow", "invert_noise", "simulate_noise"]
