"""Occupancy grid, and ray marching through its occupied cells (Müller et al., 2022, section E).

Plain PyTorch, with the buffers, methods and results of nerfacc's OccGridEstimator with one level, so that checkpoints
and calls fit both. On a GPU, nerfacc's is used if it is installed.
"""

import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ...utils.misc import get_device
from .compositing import rendering_weights

LOOKUPS_AT_ONCE = 2**21  # largest number of cells looked up at once, which limits memory
MARGIN = 0.5  # margin around the occupied cells in ray marching against rounding, cells; below 1
MIN_DIRECTION = 1e-12  # replaces smaller components of directions, against division by zero


class OccupancyGrid(nn.Module):
    """Grid of the cells of a box that are not empty, by a decaying maximum of the opacities evaluated there.

    Args:
        bbox: lower and upper corner of the box, world units, (2, 3).
        resolution: number of cells R along each axis.
    """

    resolution: Tensor  # (3,)
    aabbs: Tensor  # lower and upper corner, (1, 6)
    occs: Tensor  # decaying maximum of the opacity of each cell, (R^3,)
    binaries: Tensor  # whether a cell is occupied, (1, R, R, R)

    def __init__(self, bbox: Tensor, resolution: int = 32) -> None:
        super().__init__()
        self.register_buffer("resolution", torch.full((3,), resolution, dtype=torch.int32))
        self.register_buffer("aabbs", bbox.detach().clone().float().reshape(1, 6))
        self.register_buffer("occs", torch.zeros(resolution**3))
        self.register_buffer("binaries", torch.zeros(1, resolution, resolution, resolution, dtype=torch.bool))

    @property
    def bbox(self) -> Tensor:
        """Lower and upper corner, (2, 3)."""
        return self.aabbs.reshape(2, 3)

    @torch.no_grad()
    def update_every_n_steps(
        self,
        step: int,
        occ_eval_fn: Callable[[Tensor], Tensor],
        occ_thre: float = 1e-2,
        ema_decay: float = 0.95,
        warmup_steps: int = 256,
        n: int = 16,
    ) -> None:
        """Update the grid from the field, in every n-th step.

        Args:
            step: training step.
            occ_eval_fn: function from points (M, 3) to their opacities over a step of the ray, (M, 1).
            occ_thre: opacity above which a cell is occupied; the grid's mean, if that is lower.
            ema_decay: factor of the old value of a cell at each update.
            warmup_steps: step before which all cells are updated; a sample of them is updated later.
            n: steps between updates.
        """
        if self.is_due(step, n):
            cells = self.choose_cells(step, warmup_steps)
            self.absorb(cells, occ_eval_fn(self.points_in(cells)), occ_thre, ema_decay)

    @staticmethod
    def is_due(step: int, n: int = 16) -> bool:
        """Whether the grid is updated in a training step, of which every n-th one counts."""
        return step % n == 0

    def choose_cells(self, step: int, warmup_steps: int = 256) -> Tensor:
        """Choose cells to update: all in the warm-up, later a random quarter and at most as many occupied ones.

        Args:
            step: training step.
            warmup_steps: first step after the warm-up.

        Returns:
            Indices of cells, (M,).
        """
        if step < warmup_steps:
            return torch.arange(len(self.occs), device=self.occs.device)
        quarter = len(self.occs) // 4
        anywhere = torch.randint(len(self.occs), (quarter,), device=self.occs.device)
        occupied = self.binaries.flatten().nonzero()[:, 0]
        if len(occupied) > quarter:
            occupied = occupied[torch.randint(len(occupied), (quarter,), device=occupied.device)]
        return torch.cat([anywhere, occupied])

    def points_in(self, cells: Tensor) -> Tensor:
        """Draw a random point in each of the cells (M,), world coordinates (M, 3)."""
        size = self.binaries.shape[-1]
        corner = torch.stack([cells // size**2, cells // size % size, cells % size], -1)
        lower, upper = self.bbox
        return lower + (corner + torch.rand(corner.shape, device=cells.device)) / size * (upper - lower)

    @torch.no_grad()
    def absorb(self, cells: Tensor, occupancies: Tensor, occ_thre: float = 1e-2, ema_decay: float = 0.95) -> None:
        """Update cells with new opacities.

        Args:
            cells: indices of cells, (M,); an index may occur twice.
            occupancies: opacities in these cells, (M,) or (M, 1).
            occ_thre: see `update_every_n_steps`.
            ema_decay: see `update_every_n_steps`.
        """
        self.occs[cells] = self.occs[cells] * ema_decay
        self.occs.scatter_reduce_(0, cells, occupancies.reshape(-1).to(self.occs), "amax")
        self.binaries.copy_((self.occs > self.occs.mean().clamp(max=occ_thre)).reshape(self.binaries.shape))

    @torch.no_grad()
    def sampling(
        self,
        rays_o: Tensor,
        rays_d: Tensor,
        sigma_fn: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None,
        near_plane: float = 0.0,
        far_plane: float = 1e10,
        render_step_size: float = 1e-3,
        early_stop_eps: float = 1e-4,
        alpha_thre: float = 0.0,
        stratified: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Place samples on rays in occupied cells, and remove those that are invisible; without gradient.

        Args:
            rays_o: origins of the rays, (n, 3).
            rays_d: directions of the rays, (n, 3).
            sigma_fn: function from (t_starts, t_ends, ray_indices), each (S,), to densities (S,); None: invisible
                samples are kept.
            near_plane: smallest distance of samples.
            far_plane: largest distance of samples.
            render_step_size: length of a sample.
            early_stop_eps: transmittance below which a sample is invisible.
            alpha_thre: opacity below which a sample is invisible; the grid's mean, if that is lower.
            stratified: start each ray at a random part of a step.

        Returns:
            ray_indices, t_starts, t_ends, each (S,), packed as in `compositing`.
        """
        jitter = torch.rand(len(rays_o), device=rays_o.device) if stratified else None
        ray_indices, t_starts, t_ends = march_rays(
            rays_o, rays_d, self.binaries, self.bbox, render_step_size, near_plane, far_plane, jitter
        )
        if sigma_fn is None or (alpha_thre <= 0 and early_stop_eps <= 0):
            return ray_indices, t_starts, t_ends
        densities = sigma_fn(t_starts, t_ends, ray_indices)
        alpha_thre = min(alpha_thre, self.occs.mean().item())
        seen = is_seen(t_starts, t_ends, densities, ray_indices, len(rays_o), early_stop_eps, alpha_thre)
        return ray_indices[seen], t_starts[seen], t_ends[seen]


def make_estimator(bbox: Tensor, resolution: int = 32) -> Any:
    """Make an occupancy grid: nerfacc's on a GPU if it is installed, otherwise `OccupancyGrid`.

    Args:
        bbox: lower and upper corner of the box, world units, (2, 3).
        resolution: number of cells along each axis.
    """
    if get_device().type == "cuda" and importlib.util.find_spec("nerfacc") is not None:
        import nerfacc

        return nerfacc.OccGridEstimator(roi_aabb=bbox.reshape(-1), resolution=resolution, levels=1)
    return OccupancyGrid(bbox, resolution)


def is_seen(
    t_starts: Tensor,
    t_ends: Tensor,
    densities: Tensor,
    ray_indices: Tensor,
    n_rays: int,
    early_stop_eps: float = 1e-4,
    alpha_thre: float | Tensor = 0.0,
) -> Tensor:
    """Which samples are neither hidden nor transparent.

    Args:
        t_starts: distances at which the samples start, (S,).
        t_ends: distances at which the samples end, (S,).
        densities: density of each sample, (S,).
        ray_indices: ray of each sample, (S,).
        n_rays: number of rays.
        early_stop_eps: transmittance below which a sample is hidden.
        alpha_thre: opacity below which a sample is transparent; a number or one for each sample, (S,).

    Returns:
        bool (S,)
    """
    _, transmittance, alpha = rendering_weights(t_starts, t_ends, densities, ray_indices, n_rays)
    return (transmittance >= early_stop_eps) & (alpha >= alpha_thre)


@torch.no_grad()
def march_rays(
    origins: Tensor,
    directions: Tensor,
    occupied: Tensor,
    bbox: Tensor,
    step_size: float,
    near: float = 0.0,
    far: float = 1e10,
    jitter: Tensor | None = None,
    grid_of_ray: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Divide rays into steps from the near plane on, and return the steps whose midpoints are in occupied cells.

    Args:
        origins: origins of the rays, (n, 3).
        directions: directions of the rays, (n, 3).
        occupied: P grids of one box, bool (P, R, R, R).
        bbox: lower and upper corner of the box, (2, 3).
        step_size: length of a step, in units of the directions' length.
        near: smallest distance of midpoints.
        far: largest distance of midpoints.
        jitter: part of a step by which each ray's first step is shifted from the near plane, in [0, 1), (n,).
        grid_of_ray: index of each ray's grid, (n,); None: the first grid for all.

    Returns:
        ray_indices, t_starts, t_ends, each (S,), packed as in `compositing`.
    """
    size = occupied.shape[-1]
    lower, upper = bbox
    scale = size / (upper - lower)
    origins, directions = (origins - lower) * scale, directions * scale  # from here on lengths are in cells
    grids = origins.new_zeros(len(origins), dtype=torch.long) if grid_of_ray is None else grid_of_ray

    starts = origins.new_full((len(origins),), near)
    if jitter is not None:
        starts = starts + jitter * step_size
    enter, leave = _cross_box(origins, directions, *(corner[grids] for corner in _occupied_boxes(occupied)))
    leave = leave.clamp(max=far)
    first = _steps_to(enter, starts, step_size)
    counts = (_steps_to(leave, starts, step_size) - first).clamp(min=0).long()

    # Midpoints just outside the box fall into a rim of empty cells.
    cells = nn.functional.pad(occupied, (1, 1, 1, 1, 1, 1)).reshape(-1)
    longest = int(counts.max()) if len(counts) else 0
    numbers = torch.arange(longest, device=origins.device)
    found_rays, found_steps = [], []
    for rays in counts.nonzero()[:, 0].split(max(1, LOOKUPS_AT_ONCE // max(1, longest))):
        middles = torch.minimum(starts[rays, None] + (first[rays, None] + numbers + 0.5) * step_size, leave[rays, None])
        inside = _look_up(cells, size, grids[rays], origins[rays], directions[rays], middles)
        row, column = (inside & (numbers < counts[rays, None])).nonzero(as_tuple=True)
        found_rays.append(rays[row])
        found_steps.append(first[rays][row] + column)
    ray_indices, steps = torch.cat(found_rays), torch.cat(found_steps)
    t_starts, t_ends = (starts[ray_indices] + number * step_size for number in (steps, steps + 1))
    return ray_indices, t_starts, t_ends


def _steps_to(t: Tensor, starts: Tensor, step_size: float) -> Tensor:
    """Index of the first step whose midpoint is not before t, as a float, (n,)."""
    return ((t - starts) / step_size - 0.5).ceil().clamp(min=0)


def _occupied_boxes(occupied: Tensor) -> tuple[Tensor, Tensor]:
    """Lower and upper corner of the occupied cells of each grid, with a margin, in cells, each (P, 3)."""
    size = occupied.shape[-1]
    # Whether each slice across an axis has an occupied cell, (P, 3, R).
    slices = torch.stack([occupied.flatten(2).any(2), occupied.any(3).any(1), occupied.flatten(1, 2).any(1)], 1)
    lower = slices.int().argmax(-1)
    upper = size - slices.flip(-1).int().argmax(-1)
    upper = torch.where(slices.any(-1), upper, lower - 1)  # with the margin, the box of an empty grid is a point
    return lower - MARGIN, upper + MARGIN


def _cross_box(origins: Tensor, directions: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """Distances at which rays enter and leave their boxes, (n,) each; for a ray that misses, leave < enter."""
    parallel = directions.abs() < MIN_DIRECTION
    inverse = 1 / torch.where(parallel, MIN_DIRECTION, directions)
    near, far = (lower - origins) * inverse, (upper - origins) * inverse
    return torch.minimum(near, far).amax(-1), torch.maximum(near, far).amin(-1)


def _look_up(cells: Tensor, size: int, grids: Tensor, origins: Tensor, directions: Tensor, t: Tensor) -> Tensor:
    """Whether points at distances t (n, K) on rays (n, 3) are in occupied cells of the grids with rims."""
    index = (grids[:, None] * (size + 2) ** 3).int()
    for axis in range(3):
        # The shift by the rim makes coordinates positive, so that int() rounds down.
        coordinate = torch.addcmul(origins[:, axis, None] + 1, t, directions[:, axis, None]).int()
        index = index + coordinate * (size + 2) ** (2 - axis)
    return cells.index_select(0, index.reshape(-1)).reshape(t.shape)
