"""Repulsion between particles: feature networks, kernels, potentials and the force."""

from .features import load_features
from .force import RepulsiveForce
from .kernels import RBFKernel, squared_distances
from .potentials import POTENTIALS, log_sum, order_two, plain_sum, sum_log

__all__ = [
    "POTENTIALS",
    "RBFKernel",
    "RepulsiveForce",
    "load_features",
    "log_sum",
    "order_two",
    "plain_sum",
    "squared_distances",
    "sum_log",
]
