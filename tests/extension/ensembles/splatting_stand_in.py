"""Gaussian splatting in plain torch, with the interfaces and output names of threestudio-3dgs."""

from dataclasses import dataclass
from pathlib import Path

import torch
from threestudio_rsd.host import BaseModule, register
from torch import nn

WIDTHS = 2.0  # radius of a gaussian on the screen, in standard deviations


@register("stand-in-splatting")
class Gaussians(BaseModule):
    """Isotropic gaussians with their own optimizer; adds a copy of each point that moved far."""

    @dataclass
    class Config(BaseModule.Config):
        init_num_pts: int = 12
        position_lr: float = 0.01
        feature_lr: float = 0.2
        densification_interval: int = 4
        densify_grad_threshold: float = 0.0

    def configure(self):
        n = self.cfg.init_num_pts
        self._xyz = nn.Parameter(torch.randn(n, 3) * 0.4)
        self._features_dc = nn.Parameter(torch.zeros(n, 3))
        self._scaling = nn.Parameter(torch.full((n, 1), -1.0))
        self.movement = torch.zeros(n)
        groups = [
            {"params": [self._xyz], "lr": self.cfg.position_lr, "name": "xyz"},
            {"params": [self._features_dc], "lr": self.cfg.feature_lr, "name": "f_dc"},
            {"params": [self._scaling], "lr": 0.01, "name": "scaling"},
        ]
        self.optimizer = torch.optim.Adam(groups, lr=0.0)

    @property
    def get_xyz(self):
        return self._xyz

    @property
    def get_scaling(self):
        return self._scaling.exp()

    def update_learning_rate(self, iteration):
        self.optimizer.param_groups[0]["lr"] = self.cfg.position_lr / (1 + iteration)

    @torch.no_grad()
    def update_states(self, iteration, visibility_filter, radii, viewspace_points):
        for visible, points in zip(visibility_filter, viewspace_points, strict=True):
            self.movement[visible] += points.grad[visible].norm(dim=-1)
        if iteration > 0 and iteration % self.cfg.densification_interval == 0:
            self._duplicate(self.movement > self.cfg.densify_grad_threshold)

    def _duplicate(self, chosen):
        names = {"xyz": "_xyz", "f_dc": "_features_dc", "scaling": "_scaling"}
        for group in self.optimizer.param_groups:
            (old,) = group["params"]
            new = nn.Parameter(torch.cat([old, old[chosen]]))
            state = self.optimizer.state.pop(old, None)
            if state is not None:
                for moment in ("exp_avg", "exp_avg_sq"):
                    state[moment] = torch.cat([state[moment], torch.zeros_like(old[chosen])])
                self.optimizer.state[new] = state
            group["params"] = [new]
            setattr(self, names[group["name"]], new)
        self.movement = torch.zeros(len(self._xyz))

    def save_ply(self, path):
        Path(path).write_text(f"element vertex {len(self._xyz)}\n")


@register("stand-in-splatting-rasterizer")
class Rasterizer(BaseModule):
    """Blends all gaussians in proportion to their density at the pixel; slow, ignores depth."""

    def configure(self, geometry, material, background):
        self.parts = {"geometry": geometry}

    def forward(self, camera, bg_color, height, width, **kwargs):
        geometry = self.parts["geometry"]
        screen_points = torch.zeros_like(geometry.get_xyz, requires_grad=True) + 0
        if self.training:
            screen_points.retain_grad()
        position = (geometry.get_xyz - camera[:3, 3]) @ camera[:3, :3]
        centers = (position + screen_points)[:, :2]
        rows, columns = torch.meshgrid(torch.linspace(1, -1, height), torch.linspace(-1, 1, width), indexing="ij")
        pixels = torch.stack([columns, rows], -1)
        deviation = geometry.get_scaling[:, 0]
        heights = (-(pixels[:, :, None] - centers).square().sum(-1) / (2 * deviation**2)).exp()
        total = heights.sum(-1, keepdim=True)
        opacity = 1 - (-total).exp()
        color = heights @ geometry._features_dc.sigmoid() / (total + 1e-6)
        radii = WIDTHS * deviation.detach()
        return {
            "render": (opacity * color + (1 - opacity) * bg_color).permute(2, 0, 1),
            "viewspace_points": screen_points,
            "visibility_filter": radii > 0,
            "radii": radii,
        }

    def batch_forward(self, batch):
        renderings = []
        for index, camera in enumerate(batch["c2w"]):
            batch["batch_idx"] = index
            renderings.append(self.forward(camera, torch.ones(3), **batch))
        return {
            "comp_rgb": torch.stack([rendering["render"] for rendering in renderings]).permute(0, 2, 3, 1),
            **{
                name: [rendering[name] for rendering in renderings]
                for name in ("viewspace_points", "visibility_filter", "radii")
            },
        }
