"""Repulsive Score Distillation as a threestudio extension; importing it registers its modules and systems."""

import sys

__version__ = "0.1.0"

if "threestudio" in sys.modules:  # threestudio's launch.py imports its custom/ folder to register what lies there
    from .extension import data, ensembles, guidance, prompt_processor, systems  # noqa: F401
