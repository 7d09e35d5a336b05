"""`nerf-volume-renderer`: volume rendering of a density field by ray marching."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ....errors import UserError, fits_memory, in_range, one_of, positive
from ...utils.base import BaseModule
from ...utils.registry import register
from .compositing import Pixels, accumulate, composite, rendering_weights
from .occupancy import make_estimator

SAMPLE = 4096  # bytes, at least, of a sample on each ray of 8 x 8 pixels, with its features
ESTIMATORS = ("occgrid",)
GRID_RESOLUTION = 32  # cells of the occupancy grid along an axis; threestudio
PRUNED_ALPHA = 0.01  # opacity below which a sample is removed (prune_alpha_threshold); threestudio
PERTURBATION = 1e-2  # standard deviation of the shift in return_normal_perturb, world units; threestudio


class RenderedParts(NamedTuple):
    """Modules that a renderer renders. In a tuple they do not become submodules of the renderer, but of the system."""

    geometry: nn.Module
    material: nn.Module
    background: nn.Module


class RaySamples(NamedTuple):
    """Samples on rays, packed as in `compositing`."""

    ray_indices: Tensor  # ray of each sample, (S,)
    t_starts: Tensor  # distance at which the sample starts, (S,)
    t_ends: Tensor  # distance at which the sample ends, (S,)
    t_points: Tensor  # distance of the midpoint, (S, 1)
    t_dirs: Tensor  # direction of the ray, (S, 3)
    points: Tensor  # midpoint, world coordinates, (S, 3)


class BaseRenderer(BaseModule):
    """Base class of renderers of a geometry with material and background, in a box around the origin."""

    @dataclass
    class Config(BaseModule.Config):
        radius: float = 1.0  # half the side of the box, world units; threestudio

    cfg: Config
    bbox: Tensor

    def configure(self, geometry: nn.Module, material: nn.Module, background: nn.Module) -> None:
        self.sub_modules = RenderedParts(geometry, material, background)
        corner = torch.full((3,), float(self.cfg.radius))
        self.register_buffer("bbox", torch.stack([-corner, corner]))

    @property
    def geometry(self) -> Any:
        return self.sub_modules.geometry

    @property
    def material(self) -> Any:
        return self.sub_modules.material

    @property
    def background(self) -> Any:
        return self.sub_modules.background

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """For subclasses: render images."""
        raise NotImplementedError


@register("nerf-volume-renderer")
class NeRFVolumeRenderer(BaseRenderer):
    """Volume rendering of a density field (NeRF, Mildenhall et al., 2020), in the occupied cells of a grid.

    Raises:
        UserError: a config value is impossible, or the geometry has no density.
    """

    @dataclass
    class Config(BaseRenderer.Config):
        num_samples_per_ray: int = 512  # steps along the diagonal of the box; threestudio
        eval_chunk_size: int = 160000  # samples processed at once in evaluation; 0: all; threestudio
        randomized: bool = True  # start each ray at a random part of a step in training; threestudio
        near_plane: float = 0.0  # distance from the camera, world units; threestudio
        far_plane: float = 1e10  # largest distance of samples from the camera, world units; threestudio
        return_comp_normal: bool = False  # return an image of the normals in training, too; threestudio
        return_normal_perturb: bool = False  # return normals near the samples, for a smoothness loss; threestudio
        estimator: str = "occgrid"  # placement of samples: occgrid, by an occupancy grid; threestudio
        grid_prune: bool = True  # skip empty cells of the grid; threestudio
        prune_alpha_threshold: bool = True  # remove transparent and hidden samples; threestudio

    cfg: Config

    def configure(self, geometry: nn.Module, material: nn.Module, background: nn.Module) -> None:
        super().configure(geometry, material, background)
        cfg = self.cfg
        one_of("renderer.estimator", cfg.estimator, ESTIMATORS)
        in_range("renderer.num_samples_per_ray", cfg.num_samples_per_ray, 1)
        fits_memory("renderer.num_samples_per_ray", cfg.num_samples_per_ray, cfg.num_samples_per_ray * SAMPLE)
        in_range("renderer.eval_chunk_size", cfg.eval_chunk_size, 0)
        in_range("renderer.near_plane", cfg.near_plane, 0.0)
        positive("renderer.far_plane", cfg.far_plane)
        positive("renderer.radius", cfg.radius)
        for name in ("forward_density", "bbox"):
            if not hasattr(geometry, name):
                raise UserError(
                    f"nerf-volume-renderer cannot render a {type(geometry).__name__}, which has no {name}; "
                    "accepted: a geometry with a density, such as implicit-volume."
                )
        self.estimator = make_estimator(self.bbox, GRID_RESOLUTION)
        if not cfg.grid_prune:
            self.estimator.occs.fill_(True)
            self.estimator.binaries.fill_(True)
        self.render_step_size = (
            1.732 * 2 * cfg.radius / cfg.num_samples_per_ray
        )  # diagonal of the box / samples; threestudio rounds sqrt(3)

    updates_grid = True  # in `update_step`; False where the grids of several particles are updated together

    def update_step(self, epoch: int, global_step: int, on_load_weights: bool = False) -> None:
        """Update the occupancy grid in training."""
        if self.cfg.grid_prune and self.training and self.updates_grid and not on_load_weights:
            self.estimator.update_every_n_steps(step=global_step, occ_eval_fn=self.step_opacity)

    def step_opacity(self, points: Tensor) -> Tensor:
        """Opacity (M, 1) of a step at points (M, 3), to first order: density times length."""
        return self.geometry.forward_density(points) * self.render_step_size

    def forward(
        self, rays_o: Tensor, rays_d: Tensor, light_positions: Tensor, bg_color: Tensor | None = None, **kwargs: Any
    ) -> dict[str, Tensor]:
        """Render B views.

        Args:
            rays_o: origins of the rays, (B, H, W, 3).
            rays_d: unit directions of the rays, (B, H, W, 3).
            light_positions: position of the light of each view, (B, 3).
            bg_color: background in place of the configured one, (B, C) or (B, H, W, C).
            **kwargs: arguments of the material in training.

        Returns:
            comp_rgb, comp_rgb_fg, comp_rgb_bg (B, H, W, C), opacity, depth, z_variance (B, H, W, 1). If the material
            needs normals, comp_normal (B, H, W, 3) in [0, 1] in evaluation, and in training with return_comp_normal.
            In training also, for the S samples: weights, t_points, t_intervals (S, 1), t_dirs, points (S, 3),
            ray_indices (S,), the result of the geometry, and with return_normal_perturb normal_perturb (S, 3).
        """
        shape = rays_o.shape[:-1]
        samples = self.sample(rays_o.reshape(-1, 3), rays_d.reshape(-1, 3))
        # Position of the light of each sample's view, (S, 3).
        lights = light_positions[samples.ray_indices // shape[1:].numel()]
        field, colors = self._evaluate(samples, lights, kwargs)
        n_rays = shape.numel()
        weights, _, _ = rendering_weights(
            samples.t_starts, samples.t_ends, field["density"][:, 0], samples.ray_indices, n_rays
        )
        pixels = composite(weights, samples.t_points, colors, samples.ray_indices, n_rays)
        out = compose_images(pixels, self.background(dirs=rays_d), bg_color, shape)
        if "normal" in field and (not self.training or self.cfg.return_comp_normal):
            normals = normal_image(weights, field["normal"], pixels.opacity, samples.ray_indices)
            out["comp_normal"] = normals.reshape(*shape, 3)
        if self.training:
            out.update(describe_samples(samples, weights), **field)
            if self.cfg.return_normal_perturb and "normal" in field:
                nearby = samples.points + PERTURBATION * torch.randn_like(samples.points)
                out["normal_perturb"] = self.geometry(nearby, output_normal=True)["normal"]
        return out

    @torch.no_grad()
    def sample(self, rays_o: Tensor, rays_d: Tensor) -> RaySamples:
        """Samples of rays with origins and directions (n, 3); at least one sample."""

        def densities(t_starts: Tensor, t_ends: Tensor, ray_indices: Tensor) -> Tensor:
            points = locate(rays_o, rays_d, ray_indices, t_starts, t_ends).points
            return self._in_chunks(self.geometry.forward_density, points)[:, 0]

        prunes = self.cfg.grid_prune and self.cfg.prune_alpha_threshold
        ray_indices, t_starts, t_ends = self.estimator.sampling(
            rays_o,
            rays_d,
            sigma_fn=densities if prunes else None,
            near_plane=self.cfg.near_plane,
            far_plane=self.cfg.far_plane,
            render_step_size=self.render_step_size,
            alpha_thre=PRUNED_ALPHA if prunes else 0.0,
            stratified=self.training and self.cfg.randomized,
        )
        return locate(rays_o, rays_d, *at_least_one(ray_indices.long(), t_starts, t_ends))

    def _evaluate(self, samples: RaySamples, lights: Tensor, kwargs: dict) -> tuple[dict[str, Tensor], Tensor]:
        """Result of the geometry for the samples, and their colors (S, C)."""
        needs_normal = self.material.requires_normal
        if self.training:
            kwargs = {**kwargs, "viewdirs": samples.t_dirs, "positions": samples.points, "light_positions": lights}
            field = self.geometry(samples.points, output_normal=needs_normal)
            return field, self.material(**kwargs, **field)

        def evaluate(points: Tensor, viewdirs: Tensor, lights: Tensor) -> dict[str, Tensor]:
            field = self.geometry(points, output_normal=needs_normal)
            colors = self.material(viewdirs=viewdirs, positions=points, light_positions=lights, **field)
            return {"color": colors, **{name: field[name] for name in ("density", "normal") if name in field}}

        field = self._in_chunks(evaluate, samples.points, samples.t_dirs, lights)
        return field, field.pop("color")

    def _in_chunks(self, function: Callable[..., Any], *tensors: Tensor) -> Any:
        """Apply a function to the tensors: in evaluation to `eval_chunk_size` rows at a time, in training to all."""
        size = self.cfg.eval_chunk_size
        if self.training or size <= 0 or len(tensors[0]) <= size:
            return function(*tensors)
        results = [function(*parts) for parts in zip(*(tensor.split(size) for tensor in tensors), strict=True)]
        if isinstance(results[0], Tensor):
            return torch.cat(results)
        return {name: torch.cat([result[name] for result in results]) for name in results[0]}


def at_least_one(ray_indices: Tensor, t_starts: Tensor, t_ends: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the samples (S,), or one of length 0 if there are none, so that parameters get a gradient of 0."""
    if len(ray_indices) == 0:
        return ray_indices.new_zeros(1), t_starts.new_zeros(1), t_ends.new_zeros(1)
    return ray_indices, t_starts, t_ends


def locate(rays_o: Tensor, rays_d: Tensor, ray_indices: Tensor, t_starts: Tensor, t_ends: Tensor) -> RaySamples:
    """Compute midpoints and directions of samples (S,) on rays (n, 3)."""
    t_points = ((t_starts + t_ends) / 2)[:, None]
    t_dirs = rays_d[ray_indices]
    return RaySamples(ray_indices, t_starts, t_ends, t_points, t_dirs, rays_o[ray_indices] + t_points * t_dirs)


def describe_samples(samples: RaySamples, weights: Tensor) -> dict[str, Tensor]:
    """Samples with their weights (S,) by threestudio's names, for losses."""
    return {
        "weights": weights[:, None],
        "t_points": samples.t_points,
        "t_intervals": (samples.t_ends - samples.t_starts)[:, None],
        "t_dirs": samples.t_dirs,
        "ray_indices": samples.ray_indices,
        "points": samples.points,
    }


def compose_images(
    pixels: Pixels, background: Tensor, bg_color: Tensor | None, shape: tuple[int, ...]
) -> dict[str, Tensor]:
    """Compose rendered rays and a background to images, by threestudio's names.

    Args:
        pixels: rendered values of B H W rays.
        background: colors of the background, (B, H, W, C).
        bg_color: colors in place of the background, (B, C) or (B, H, W, C); None: the background.
        shape: (B, H, W).
    """
    behind = background if bg_color is None else bg_color
    if behind.dim() == 2 and len(behind) == shape[0]:
        behind = behind[:, None, None]
    opacity = pixels.opacity.reshape(*shape, 1)
    foreground = pixels.rgb.reshape(*shape, -1)
    return {
        "comp_rgb": foreground + behind * (1 - opacity),
        "comp_rgb_fg": foreground,
        "comp_rgb_bg": background,
        "opacity": opacity,
        "depth": pixels.depth.reshape(*shape, 1),
        "z_variance": pixels.z_variance.reshape(*shape, 1),
    }


def normal_image(weights: Tensor, normals: Tensor, opacity: Tensor, ray_indices: Tensor) -> Tensor:
    """Mean normal of each ray as a color in [0, 1], black on empty rays.

    Args:
        weights: weight of each sample, (S,).
        normals: unit normal of each sample, (S, 3).
        opacity: opacity of each ray, (n, 1).
        ray_indices: ray of each sample, (S,).

    Returns:
        (n, 3)
    """
    mean = accumulate(weights, normals, ray_indices, len(opacity))
    return (functional.normalize(mean, dim=-1) + 1) / 2 * opacity
