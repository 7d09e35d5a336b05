"""Rendering of N particles at once: rays are marched together, and geometries are evaluated as one stack.

The result equals rendering one particle after the other, up to rounding, if the materials draw no random numbers.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from ....particles.stacked import call_stacked, have_one_architecture
from .compositing import composite, rendering_weights
from .nerf_volume_renderer import (
    PRUNED_ALPHA,
    NeRFVolumeRenderer,
    RaySamples,
    at_least_one,
    compose_images,
    describe_samples,
    locate,
)
from .occupancy import OccupancyGrid, is_seen, march_rays

# Largest number of rays per particle for which one call is not slower on a CPU; benchmarks/text2nerf_step.py.
FASTEST_ON_CPU = 1024
RAYS_ON_CPU = 8192  # rays of all particles in one call on a CPU, where a particle has more than FASTEST_ON_CPU


def can_render_together(renderers: Any) -> bool:
    """Whether `render_together` supports the renderers and their settings.

    It does for `NeRFVolumeRenderer` in training with `OccupancyGrid`, without images of normals, and with geometries
    of one architecture.

    Args:
        renderers: one renderer for each particle, a sequence or ModuleList.
    """
    return all(
        type(renderer) is NeRFVolumeRenderer
        and renderer.training
        and isinstance(renderer.estimator, OccupancyGrid)
        and not (renderer.cfg.return_comp_normal or renderer.cfg.return_normal_perturb)
        for renderer in renderers
    ) and have_one_architecture([renderer.geometry for renderer in renderers])


def is_faster_together(batch: dict[str, Any]) -> bool:
    """Whether `render_together` is probably faster than rendering one particle after the other.

    On a GPU it saves kernel launches. On a CPU it saves calls, but tables that exceed the caches cost more than that.

    Args:
        batch: views of a particle, with rays_o (V, H, W, 3).
    """
    rays = batch["rays_o"]
    return rays.is_cuda or rays[..., 0].numel() <= FASTEST_ON_CPU


Randomness = Callable[[int], AbstractContextManager[object]]


def render_together(
    renderers: Any, batches: Sequence[dict[str, Any]], random: Randomness = lambda index: nullcontext()
) -> dict[str, Any]:
    """Render V views of each of N particles.

    Args:
        renderers: one `NeRFVolumeRenderer` for each particle, a sequence or ModuleList, see `can_render_together`. The
            settings of the first are used for all.
        batches: arguments of each particle's renderer: rays_o, rays_d (V, H, W, 3), light_positions (V, 3), ...
        random: context of code that may draw random numbers for the particle at an index.

    Returns:
        Result of `NeRFVolumeRenderer.forward` for N V views, particle by particle.
    """
    rays_o = torch.cat([batch["rays_o"] for batch in batches])
    rays_d = torch.cat([batch["rays_d"] for batch in batches])
    lights = torch.cat([batch["light_positions"] for batch in batches])
    shape = rays_o.shape[:-1]  # (N V, H, W)
    n_rays = shape.numel()
    samples = _sample(renderers, rays_o.reshape(-1, 3), rays_d.reshape(-1, 3), random)
    particle = samples.ray_indices // (n_rays // len(renderers))
    stack = Stack(particle, len(renderers))
    geometries = [renderer.geometry for renderer in renderers]
    needs_normal = renderers[0].material.requires_normal
    field = call_stacked(geometries, "forward", stack.pad(samples.points), output_normal=needs_normal)
    field = {name: stack.unpad(value) for name, value in field.items()}
    weights, _, _ = rendering_weights(
        samples.t_starts, samples.t_ends, field["density"][:, 0], samples.ray_indices, n_rays
    )
    light_of_sample = lights[samples.ray_indices // shape[1:].numel()]
    colors = _shade(renderers, batches, samples, field, light_of_sample, stack.counts, random)
    pixels = composite(weights, samples.t_points, colors, samples.ray_indices, n_rays)
    backgrounds = []
    for index, (renderer, batch) in enumerate(zip(renderers, batches, strict=True)):
        with random(index):
            backgrounds.append(renderer.background(dirs=batch["rays_d"]))
    background = torch.cat(backgrounds)
    given = [batch["bg_color"] for batch in batches if batch.get("bg_color") is not None]
    behind = torch.cat(given) if given else None
    return compose_images(pixels, background, behind, shape) | describe_samples(samples, weights) | field


def groups_of(renderers: Any, batch: dict[str, Any]) -> int:
    """Number of particles that one call of `render_together` renders, so that its tables fit in a CPU's caches.

    Args:
        renderers: one renderer for each particle.
        batch: views of a particle, with rays_o (V, H, W, 3).
    """
    rays = batch["rays_o"]
    return len(renderers) if is_faster_together(batch) else max(1, RAYS_ON_CPU // rays[..., 0].numel())


@torch.no_grad()
def update_grids_together(renderers: Any, step: int, random: Randomness) -> None:
    """Update the occupancy grids of N particles with one evaluation of their geometries.

    It equals `update_step` of each renderer up to rounding, with the same random numbers.

    Args:
        renderers: one `NeRFVolumeRenderer` for each particle, see `can_render_together`.
        step: training step.
        random: see `render_together`.
    """
    grids = [renderer.estimator for renderer in renderers]
    if not (renderers[0].cfg.grid_prune and grids[0].is_due(step)):
        return
    cells, points = [], []
    for index, grid in enumerate(grids):
        with random(index):
            cells.append(grid.choose_cells(step))
            points.append(grid.points_in(cells[-1]))
    sizes = torch.tensor([len(each) for each in cells], device=cells[0].device)
    stack = Stack(torch.arange(len(grids), device=sizes.device).repeat_interleave(sizes), len(grids))
    geometries = [renderer.geometry for renderer in renderers]
    densities = stack.unpad(call_stacked(geometries, "forward_density", stack.pad(torch.cat(points))))
    opacities = (densities * renderers[0].render_step_size).split(sizes.tolist())
    for grid, chosen, opacity in zip(grids, cells, opacities, strict=True):
        grid.absorb(chosen, opacity)


class Stack:
    """Conversion between packed samples of N particles and a padded table with a row for each particle.

    Args:
        particle: index of each sample's particle, ascending, (S,).
        n: number of particles N.
    """

    def __init__(self, particle: Tensor, n: int) -> None:
        self.particle = particle
        self.counts = torch.bincount(particle, minlength=n)
        starts = self.counts.cumsum(0) - self.counts
        self.place = torch.arange(len(particle), device=particle.device) - starts[particle]
        self.shape = (n, max(1, int(self.counts.max())))

    def pad(self, values: Tensor) -> Tensor:
        """Convert (S, C) to (N, longest, C), with zeros at the ends of shorter rows."""
        table = values.new_zeros(*self.shape, values.shape[-1])
        table[self.particle, self.place] = values
        return table

    def unpad(self, table: Tensor) -> Tensor:
        """Convert (N, longest, C) to (S, C)."""
        return table[self.particle, self.place]


@torch.no_grad()
def _sample(renderers: Sequence[NeRFVolumeRenderer], rays_o: Tensor, rays_d: Tensor, random: Randomness) -> RaySamples:
    """Samples of all rays (N n, 3), each marched through the grid of its particle; at least one sample."""
    first, n = renderers[0], len(renderers)
    per_particle = len(rays_o) // n
    jitter = None
    if first.cfg.randomized:  # one draw for each particle, as in separate rendering
        jitters = []
        for index in range(n):
            with random(index):
                jitters.append(torch.rand(per_particle, device=rays_o.device))
        jitter = torch.cat(jitters)
    ray_indices, t_starts, t_ends = march_rays(
        rays_o,
        rays_d,
        torch.cat([renderer.estimator.binaries for renderer in renderers]),
        first.estimator.bbox,
        first.render_step_size,
        first.cfg.near_plane,
        first.cfg.far_plane,
        jitter,
        torch.arange(n, device=rays_o.device).repeat_interleave(per_particle),
    )
    if first.cfg.grid_prune and first.cfg.prune_alpha_threshold and len(ray_indices):
        stack = Stack(ray_indices // per_particle, n)
        points = locate(rays_o, rays_d, ray_indices, t_starts, t_ends).points
        geometries = [renderer.geometry for renderer in renderers]
        densities = stack.unpad(call_stacked(geometries, "forward_density", stack.pad(points)))[:, 0]
        means = torch.stack([renderer.estimator.occs.mean() for renderer in renderers])
        threshold = means.clamp(max=PRUNED_ALPHA)[stack.particle]
        seen = is_seen(t_starts, t_ends, densities, ray_indices, len(rays_o), alpha_thre=threshold)
        ray_indices, t_starts, t_ends = ray_indices[seen], t_starts[seen], t_ends[seen]
    return locate(rays_o, rays_d, *at_least_one(ray_indices, t_starts, t_ends))


def _shade(
    renderers: Sequence[NeRFVolumeRenderer],
    batches: Sequence[dict[str, Any]],
    samples: RaySamples,
    field: dict[str, Tensor],
    lights: Tensor,
    counts: Tensor,
    random: Randomness,
) -> Tensor:
    """Colors (S, C) of samples, each by the material of its particle; `counts` (N,) are samples per particle."""
    sizes = counts.tolist()
    per_sample = {"viewdirs": samples.t_dirs, "positions": samples.points, "light_positions": lights} | field
    pieces = {name: value.split(sizes) for name, value in per_sample.items()}
    colors = []
    for index, (renderer, batch) in enumerate(zip(renderers, batches, strict=True)):
        own = {name: value for name, value in batch.items() if name not in ("rays_o", "rays_d", "bg_color")}
        with random(index):
            colors.append(renderer.material(**(own | {name: parts[index] for name, parts in pieces.items()})))
    return torch.cat(colors)
