"""Registered systems and their data."""

from . import ancestral, data, images, inverse, inverse_data

__all__ = ["ancestral", "data", "images", "inverse", "inverse_data"]
