"""Geometries, materials, backgrounds, renderers and exporters that configs name; importing registers them."""

from . import backgrounds, materials, renderer

__all__ = ["backgrounds", "materials", "renderer"]
