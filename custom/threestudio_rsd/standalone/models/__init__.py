"""Geometries, materials, backgrounds, renderers and exporters; importing this package registers them."""

from . import background, exporters, geometry, materials, renderers

__all__ = ["background", "exporters", "geometry", "materials", "renderers"]
