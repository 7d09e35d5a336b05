"""Solvers of other papers, for comparison."""

from .daps_solver import DecoupledAnnealingSolver
from .resample_solver import ResampleSolver

__all__ = ["DecoupledAnnealingSolver", "ResampleSolver"]
