"""Geometries of NeRFs; importing registers them."""

from . import implicit_volume

__all__ = ["implicit_volume"]
