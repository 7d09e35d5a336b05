"""`mesh-exporter`: the surface of a geometry in the colors of its material."""

import functools
from dataclasses import dataclass, field
from typing import Any

import torch

from ...errors import one_of
from ..utils.base import BaseObject
from ..utils.messages import warn
from ..utils.registry import register
from .mesh import Mesh

FORMATS = ("obj-mtl", "obj")


@dataclass
class ExporterOutput:
    """One file to write."""

    save_name: str  # below the export folder
    save_type: str  # is written by the system's save_{save_type}
    params: dict[str, Any]  # further arguments of it


class Exporter(BaseObject):
    """Makes files of a geometry, a material and a background."""

    @dataclass
    class Config(BaseObject.Config):
        save_video: bool = False  # also render the test views

    cfg: Config

    def configure(self, geometry: Any, material: Any, background: Any) -> None:
        self.geometry = geometry
        self.material = material
        self.background = background

    def __call__(self, *args: Any, **kwargs: Any) -> list[ExporterOutput]:
        """For subclasses: the files."""
        raise NotImplementedError


@register("mesh-exporter")
class MeshExporter(Exporter):
    """A mesh with the material's albedo as vertex colors; the embedded host makes no textures.

    Raises:
        UserError: the format is unknown, or the geometry has no surface.
    """

    @dataclass
    class Config(Exporter.Config):
        fmt: str = "obj-mtl"  # obj-mtl (with textures in threestudio) or obj
        save_name: str = "model"  # name of the file
        save_normal: bool = False  # vertex normals, too
        save_uv: bool = True  # texture coordinates: threestudio only
        save_texture: bool = True  # colors
        texture_size: int = 1024  # pixels: threestudio only
        texture_format: str = "jpg"  # threestudio only
        xatlas_chart_options: dict = field(default_factory=dict)  # threestudio only
        xatlas_pack_options: dict = field(default_factory=dict)  # threestudio only
        context_type: str = "gl"  # of the rasterizer: threestudio only

    cfg: Config

    def configure(self, geometry: Any, material: Any, background: Any) -> None:
        super().configure(geometry, material, background)
        one_of("fmt", self.cfg.fmt, FORMATS)

    @torch.no_grad()
    def __call__(self, *args: Any, **kwargs: Any) -> list[ExporterOutput]:
        """One mesh."""
        mesh = self.geometry.isosurface()
        if self.cfg.save_texture:
            if self.cfg.fmt == "obj-mtl":
                _say_that_colors_are_on_vertices()
            self._paint(mesh)
        params = {
            "mesh": mesh,
            "save_mat": False,
            "save_normal": self.cfg.save_normal,
            "save_uv": False,
            "save_vertex_color": mesh.v_rgb is not None,
        }
        return [ExporterOutput(f"{self.cfg.save_name}.obj", "obj", params)]

    def _paint(self, mesh: Mesh) -> None:
        maps = self.material.export(points=mesh.v_pos, **self.geometry.export(points=mesh.v_pos))
        if "albedo" in maps:
            mesh.set_vertex_color(maps["albedo"].clamp(0, 1))
        else:
            warn(f"{type(self.material).__name__} has no albedo to export: the mesh is without colors.")


@functools.cache  # once a process, however many particles are exported
def _say_that_colors_are_on_vertices() -> None:
    warn("fmt=obj-mtl: textures need threestudio; colors are on the vertices of the mesh instead.")
