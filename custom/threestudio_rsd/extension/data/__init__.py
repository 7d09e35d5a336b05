"""Registered data modules."""

from . import empty_batches, inverse_problems, particle_cameras

__all__ = ["empty_batches", "inverse_problems", "particle_cameras"]
