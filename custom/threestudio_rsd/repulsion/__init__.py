"""How particles avoid each other: features, kernels and the force."""

from .features import load_features
from .force import RepulsiveForce
from .kernels import RBFKernel, squared_distances
from .potentials import OrderTwoForce

__all__ = ["OrderTwoForce", "RBFKernel", "RepulsiveForce", "load_features", "squared_distances"]
