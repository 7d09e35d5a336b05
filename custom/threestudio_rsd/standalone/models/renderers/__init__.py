"""Renderers; importing this package registers them."""

from . import gaussian_rasterizer, nerf_volume_renderer

__all__ = ["gaussian_rasterizer", "nerf_volume_renderer"]
