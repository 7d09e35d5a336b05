"""Volume rendering of NeRFs; importing this package registers `nerf-volume-renderer`."""

from . import nerf_volume_renderer

__all__ = ["nerf_volume_renderer"]
