"""Registered systems and their data."""

from . import ancestral, data, images

__all__ = ["ancestral", "data", "images"]
