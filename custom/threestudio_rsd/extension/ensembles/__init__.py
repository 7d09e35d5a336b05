"""Registered wrappers: N particles made of any registered geometry, material, background, renderer and exporter."""

from . import exporter, geometry, material, parts, renderer

__all__ = ["exporter", "geometry", "material", "parts", "renderer"]
