"""`gaussian-rasterizer`: rendering of a cloud of Gaussians, by gsplat on a GPU or in plain PyTorch."""

import importlib.util
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ....errors import in_range, one_of, positive, require
from ...utils.rays import focal_lengths
from ...utils.registry import register
from .compositing import Pixels
from .nerf_volume_renderer import BaseRenderer, compose_images
from .splatting import Gaussians, check_has_gaussians, draw, project, world_to_camera

IMPLEMENTATIONS = ("gsplat", "torch")


@register("gaussian-rasterizer")
class GaussianRasterizer(BaseRenderer):
    """Rasterizer of Gaussians (3D Gaussian splatting; Kerbl et al., 2023).

    Raises:
        UserError: a config value is impossible, the geometry has no Gaussians, or gsplat is wanted and not installed.
    """

    @dataclass
    class Config(BaseRenderer.Config):
        implementation: str | None = None  # gsplat (CUDA) or torch; null: gsplat on a GPU where it is installed (ours)
        near_plane: float = 0.1  # distance in front of the camera below which nothing is drawn, world units (ours)
        blur: float = 0.3  # variance added on the screen against aliasing, pixels^2; gsplat

    cfg: Config

    def configure(self, geometry: nn.Module, material: nn.Module, background: nn.Module) -> None:
        super().configure(geometry, material, background)
        cfg = self.cfg
        if cfg.implementation is not None:
            one_of("renderer.implementation", cfg.implementation, IMPLEMENTATIONS)
        positive("renderer.near_plane", cfg.near_plane)
        in_range("renderer.blur", cfg.blur, 0.0)
        check_has_gaussians(geometry, "gaussian-rasterizer cannot render")
        if cfg.implementation == "gsplat":
            require("gsplat")

    def forward(
        self, rays_d: Tensor, c2w: Tensor, fovy: Tensor, bg_color: Tensor | None = None, **kwargs: Any
    ) -> dict[str, Tensor]:
        """Render B views.

        Args:
            rays_d: directions of the rays, for the size of the images and the background, (B, H, W, 3).
            c2w: camera-to-world matrices, (B, 4, 4).
            fovy: vertical fields of view, radians, (B,).
            bg_color: background in place of the configured one, (B, C) or (B, H, W, C).
            **kwargs: further keys of the batch, which are not needed.

        Returns:
            comp_rgb, comp_rgb_fg, comp_rgb_bg (B, H, W, C), opacity, depth, z_variance (B, H, W, 1), as of
            `nerf-volume-renderer`. z_variance is 0: it has no meaning for Gaussians.
        """
        shape = rays_d.shape[:3]
        size = (shape[1], shape[2])
        focal = focal_lengths(fovy, size[0])
        render = self._gsplat if self._uses_gsplat(rays_d.device) else self._torch
        rgb, opacity, depth = render(self.geometry.gaussians(), world_to_camera(c2w), focal, size)
        pixels = Pixels(
            rgb=rgb.flatten(0, 2),
            opacity=opacity.flatten(0, 2),
            depth=depth.flatten(0, 2),
            z_variance=torch.zeros_like(opacity).flatten(0, 2),
        )
        return compose_images(pixels, self.background(dirs=rays_d), bg_color, shape)

    def _uses_gsplat(self, device: torch.device) -> bool:
        if self.cfg.implementation is not None:
            return self.cfg.implementation == "gsplat"
        return device.type == "cuda" and importlib.util.find_spec("gsplat") is not None

    def _torch(self, cloud: Gaussians, views: Tensor, focal: Tensor, size: tuple[int, int]) -> tuple[Tensor, ...]:
        near, blur = self.cfg.near_plane, self.cfg.blur
        images = [
            draw(project(cloud, view, length, size, near, blur), size)
            for view, length in zip(views, focal, strict=True)
        ]
        return tuple(torch.stack(each) for each in zip(*images, strict=True))

    def _gsplat(self, cloud: Gaussians, views: Tensor, focal: Tensor, size: tuple[int, int]) -> tuple[Tensor, ...]:
        intrinsics = torch.zeros(len(views), 3, 3, device=views.device)
        intrinsics[:, 0, 0] = intrinsics[:, 1, 1] = focal
        intrinsics[:, 0, 2], intrinsics[:, 1, 2], intrinsics[:, 2, 2] = size[1] / 2, size[0] / 2, 1
        images, opacity, _ = require("gsplat").rasterization(
            means=cloud.positions,
            quats=cloud.rotations,
            scales=cloud.scales,
            opacities=cloud.opacities,
            colors=cloud.colors,
            viewmats=views,
            Ks=intrinsics,
            width=size[1],
            height=size[0],
            near_plane=self.cfg.near_plane,
            eps2d=self.cfg.blur,
            render_mode="RGB+D",
        )
        return images[..., :-1], opacity, images[..., -1:]
