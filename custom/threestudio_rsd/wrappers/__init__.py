"""Registered wrappers: N particles made of any registered geometry, material, background, renderer and exporter."""

from . import background, exporter, geometry, material, renderer

__all__ = ["background", "exporter", "geometry", "material", "renderer"]
