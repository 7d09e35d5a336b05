"""Minimal registered modules with the interfaces of threestudio's."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import torch
from threestudio_rsd import host
from threestudio_rsd.errors import UserError
from threestudio_rsd.host import BaseModule, BaseObject, find, register
from torch import nn


class UpdateRecorder:
    """Records the steps of its updates."""

    def update_step(self, epoch, global_step, on_load_weights=False):
        self.updates = [*getattr(self, "updates", []), global_step]

    def update_step_end(self, epoch, global_step):
        self.ends = [*getattr(self, "ends", []), global_step]


@register("stand-in-geometry")
class Geometry(UpdateRecorder, BaseModule):
    """Density and features linear in the point."""

    @dataclass
    class Config(BaseModule.Config):
        radius: float = 1.0
        width: int = 2
        solid: bool = True

    def configure(self):
        self.encoding = nn.Sequential(nn.Linear(3, self.cfg.width))
        self.density_network = nn.Linear(self.cfg.width, 1)
        self.sharpness = nn.Parameter(torch.rand(1))
        self.register_buffer("bbox", torch.tensor([[-1.0] * 3, [1.0] * 3]) * self.cfg.radius)
        self.unbounded = False
        self.initialized = 0

    @property
    def corners(self):
        return self.sharpness * self.bbox

    def initialize_shape(self, times=1):
        self.initialized += times
        return self.initialized

    def forward(self, points, output_normal=False):
        features = self.encoding(points)
        density = self.density_network(features).abs() * self.sharpness
        return {"density": density, "features": features, **({"normal": points} if output_normal else {})}

    @staticmethod
    def create_from(other, cfg=None, copy_net=False):
        made = Geometry(cfg)
        if copy_net:
            made.load_state_dict(other.state_dict())
        return made


@register("stand-in-material")
class Material(UpdateRecorder, BaseModule):
    requires_normal = True

    def configure(self):
        self.tint = nn.Parameter(torch.rand(3))

    def forward(self, features, viewdirs, **kwargs):
        return (features.mean(-1, keepdim=True) * self.tint).sigmoid()


@register("stand-in-background")
class Background(UpdateRecorder, BaseModule):
    @dataclass
    class Config(BaseModule.Config):
        n_output_dims: int = 3

    def configure(self):
        self.network = nn.Linear(3, self.cfg.n_output_dims)

    def forward(self, dirs):
        return self.network(dirs).sigmoid()


@register("stand-in-renderer")
class Renderer(UpdateRecorder, BaseModule):
    """Takes one sample on each ray with enough density, so the number of samples differs between particles."""

    @dataclass
    class Config(BaseModule.Config):
        radius: float = 1.0
        threshold: float = 0.0

    def configure(self, geometry, material, background):
        self.parts = SimpleNamespace(geometry=geometry, material=material, background=background)
        self.register_buffer("grid", torch.zeros(4))

    def update_step(self, epoch, global_step, on_load_weights=False):
        super().update_step(epoch, global_step, on_load_weights)
        self.grid += self.parts.geometry.sharpness.detach()

    def forward(self, rays_o, rays_d, light_positions, bg_color=None, **kwargs):
        shape, dirs = rays_o.shape[:-1], rays_d.reshape(-1, 3)
        ray_indices = torch.nonzero(self.parts.geometry(dirs)["density"][:, 0] > self.cfg.threshold)[:, 0]
        points = dirs[ray_indices]
        geometry = self.parts.geometry(points, output_normal=self.parts.material.requires_normal)
        weights = 1 - (-geometry["density"]).exp()
        colors = self.parts.material(viewdirs=points, **geometry, **kwargs)
        foreground = torch.zeros_like(dirs).index_add(0, ray_indices, weights * colors).reshape(*shape, 3)
        opacity = torch.zeros_like(dirs[:, :1]).index_add(0, ray_indices, weights).reshape(*shape, 1)
        background = self.parts.background(dirs=rays_d)
        behind = background if bg_color is None else bg_color
        out = {
            "comp_rgb": foreground + (1 - opacity) * behind,
            "comp_rgb_fg": foreground,
            "comp_rgb_bg": background,
            "opacity": opacity,
            "depth": opacity,
            "z_variance": 0 * opacity,
        }
        if self.training:
            out |= {"weights": weights, "t_dirs": points, "points": points, "ray_indices": ray_indices, **geometry}
        return out


@dataclass
class File:
    save_name: str
    save_type: str
    params: dict = field(default_factory=dict)


@register("stand-in-exporter")
class Exporter(BaseObject):
    @dataclass
    class Config(BaseObject.Config):
        save_video: bool = False

    def configure(self, geometry, material, background):
        self.geometry, self.material = geometry, material

    def __call__(self):
        sharpness = self.geometry.sharpness.item()
        if sharpness == 0:
            raise UserError("The field has no surface; train longer.")
        return [File("model.json", "json", {"payload": {"sharpness": sharpness}})]


def ensemble(kind, n=2, particle_type=None, **particle):
    """Ensemble `particles-<kind>` of stand-ins."""
    cfg = {"n_particles": n, "particle_type": particle_type or f"stand-in-{kind}", "particle": particle}
    return find(f"particles-{kind}")(cfg)


def scene(n=2, geometry=None, **renderer):
    """Ensembles of all parts: geometry, material, background, renderer."""
    parts = {
        "geometry": ensemble("geometry", n, **(geometry or {})),
        "material": ensemble("material", n),
        "background": ensemble("background", n),
    }
    cfg = {"particle_type": "stand-in-renderer", "particle": renderer}
    return SimpleNamespace(**parts, renderer=find("particles-renderer")(cfg, **parts))


def views(n, height=3, width=4, seed=0):
    """Batch of n different views."""
    generator = torch.Generator().manual_seed(seed)
    rays = torch.randn(2, n, height, width, 3, generator=generator)
    return {
        "rays_o": rays[0],
        "rays_d": rays[1],
        "light_positions": torch.randn(n, 3, generator=generator),
        "c2w": torch.eye(4).repeat(n, 1, 1),
        "elevation": torch.arange(float(n)),
        "height": height,
        "width": width,
    }


class System(host.BaseLift3DSystem):
    """3D system without methods of its own."""


def system(n=2, optimizer=None):
    """System whose parts are ensembles."""
    counted = {"n_particles": n}
    cfg = {
        "geometry_type": "particles-geometry",
        "geometry": {**counted, "particle_type": "stand-in-geometry"},
        "material_type": "particles-material",
        "material": {**counted, "particle_type": "stand-in-material"},
        "background_type": "particles-background",
        "background": {**counted, "particle_type": "stand-in-background"},
        "renderer_type": "particles-renderer",
        "renderer": {"particle_type": "stand-in-renderer"},
        "exporter_type": "particles-exporter",
        "exporter": {"particle_type": "stand-in-exporter"},
        "optimizer": optimizer or {"name": "Adam", "args": {"lr": 0.1}},
    }
    return System(host.load_config("{tag: test, use_timestamp: false}", from_string=True, system=cfg).system)
