"""Volume rendering of NeRFs; importing registers the renderer."""

from . import nerf_volume_renderer

__all__ = ["nerf_volume_renderer"]
