"""Inverse problems: N different reconstructions from one measurement (section 5, appendix D)."""

from .problem import Problem
from .settings import SOLVERS, SolverConfig
from .solve import Solution, make_solver, solve
from .solver import Solver

__all__ = ["SOLVERS", "Problem", "Solution", "Solver", "SolverConfig", "make_solver", "solve"]
