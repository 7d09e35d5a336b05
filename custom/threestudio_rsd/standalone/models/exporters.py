"""`mesh-exporter`: a geometry's surface in the colors of its material; `gaussian-exporter`: a cloud of Gaussians."""

import functools
from dataclasses import dataclass, field
from typing import Any

import torch

from ...errors import one_of
from ..utils.base import BaseObject
from ..utils.messages import warn
from ..utils.registry import register
from .mesh import Mesh
from .renderers.splatting import check_has_gaussians

FORMATS = ("obj-mtl", "obj")  # threestudio's


@dataclass
class ExporterOutput:
    """A file to write, by the method `save_{save_type}` of the system."""

    save_name: str  # path below the export folder
    save_type: str  # such as obj
    params: dict[str, Any]  # further arguments of the method


class Exporter(BaseObject):
    """Base class of exporters, which describe files made from a geometry, a material and a background."""

    @dataclass
    class Config(BaseObject.Config):
        save_video: bool = False  # also render the test views to a film; threestudio

    cfg: Config

    def configure(self, geometry: Any, material: Any, background: Any) -> None:
        self.geometry = geometry
        self.material = material
        self.background = background

    def __call__(self, *args: Any, **kwargs: Any) -> list[ExporterOutput]:
        """For subclasses: return the files to write."""
        raise NotImplementedError


@register("mesh-exporter")
class MeshExporter(Exporter):
    """Exporter of a mesh with the material's albedo as vertex colors. Unlike threestudio's, it makes no textures.

    Raises:
        UserError: the format is unknown, or the geometry has no surface.
    """

    @dataclass
    class Config(Exporter.Config):
        # threestudio's keys and defaults; "ignored": accepted for threestudio's configs, without effect here
        fmt: str = "obj-mtl"  # obj-mtl (in threestudio with textures) or obj; here the same
        save_name: str = "model"  # name of the file, without ending
        save_normal: bool = False  # write vertex normals
        save_uv: bool = True  # write texture coordinates; ignored
        save_texture: bool = True  # write colors
        texture_size: int = 1024  # width and height of textures, pixels; ignored
        texture_format: str = "jpg"  # ending of textures; ignored
        xatlas_chart_options: dict = field(default_factory=dict)  # unwrapping of textures; ignored
        xatlas_pack_options: dict = field(default_factory=dict)  # unwrapping of textures; ignored
        context_type: str = "gl"  # rasterizer of textures; ignored

    cfg: Config

    def configure(self, geometry: Any, material: Any, background: Any) -> None:
        super().configure(geometry, material, background)
        one_of("fmt", self.cfg.fmt, FORMATS)

    @torch.no_grad()
    def __call__(self, *args: Any, **kwargs: Any) -> list[ExporterOutput]:
        """Return one OBJ file with the mesh."""
        mesh = self.geometry.isosurface()
        if self.cfg.save_texture:
            if self.cfg.fmt == "obj-mtl":
                _warn_about_textures()
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
            warn(f"{type(self.material).__name__} has no albedo to export; the mesh has no colors.")


@register("gaussian-exporter")
class GaussianExporter(Exporter):
    """Exporter of Gaussians as PLY, which viewers of 3D Gaussian splatting open.

    Raises:
        UserError: the geometry has no Gaussians.
    """

    @dataclass
    class Config(Exporter.Config):
        save_name: str = "model"  # name of the file, without ending

    cfg: Config

    def configure(self, geometry: Any, material: Any, background: Any) -> None:
        super().configure(geometry, material, background)
        check_has_gaussians(geometry, "gaussian-exporter cannot export")

    @torch.no_grad()
    def __call__(self, *args: Any, **kwargs: Any) -> list[ExporterOutput]:
        """Return one PLY file."""
        return [ExporterOutput(f"{self.cfg.save_name}.ply", "ply", self.geometry.gaussians()._asdict())]


@functools.cache  # once per process, for any number of particles
def _warn_about_textures() -> None:
    warn("fmt=obj-mtl: textures need threestudio; the mesh has vertex colors instead.")
