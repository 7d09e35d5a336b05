"""The bundled world: images whose truth is known, and the networks trained on them."""

from .render import render, render_scenes
from .world import ACCENTS, BACKGROUNDS, CLASSES, COLOURS, VIEWS, Camera, Scene, sample_scenes, view_of

__all__ = [
    "ACCENTS",
    "BACKGROUNDS",
    "CLASSES",
    "COLOURS",
    "VIEWS",
    "Camera",
    "Scene",
    "render",
    "render_scenes",
    "sample_scenes",
    "view_of",
]
