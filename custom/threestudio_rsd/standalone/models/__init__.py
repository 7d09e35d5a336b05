"""Geometries, materials, backgrounds, renderers and exporters that configs name; importing registers them."""

from . import background, exporters, geometry, materials, renderers

__all__ = ["background", "exporters", "geometry", "materials", "renderers"]
