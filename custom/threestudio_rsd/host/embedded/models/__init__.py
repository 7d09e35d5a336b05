"""Geometries, materials, backgrounds, renderers and exporters that configs name; importing registers them."""

from . import backgrounds, exporter, geometry, materials, renderer

__all__ = ["backgrounds", "exporter", "geometry", "materials", "renderer"]
