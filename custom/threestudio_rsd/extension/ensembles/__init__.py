"""Registered ensembles: N particles of any registered geometry, material, background, renderer and exporter."""

from . import exporter, geometry, parts, renderer

__all__ = ["exporter", "geometry", "parts", "renderer"]
