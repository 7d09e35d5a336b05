"""Geometries; importing this package registers them."""

from . import gaussian_splats, implicit_volume

__all__ = ["gaussian_splats", "implicit_volume"]
