"""Tables and figures of the paper: definitions, runs and results."""

from .definitions import Experiment, PaperItem, SolverTable, ToyFigure, list_experiments

__all__ = ["Experiment", "PaperItem", "SolverTable", "ToyFigure", "list_experiments"]
