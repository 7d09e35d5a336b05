"""Geometries; importing this package registers `implicit-volume`."""

from . import implicit_volume

__all__ = ["implicit_volume"]
