"""Splitting a batch of views among the particles, and joining their renders again, one particle after the other."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...errors import UserError

CAMERAS = ("rays_o", "dirs", "c2w", "mvp_mtx", "camera_positions")  # keys with one entry per view


def split_views(batch: dict[str, Any], n: int, share: bool = False) -> list[dict[str, Any]]:
    """Batch of each particle.

    Args:
        batch: tensors whose first axis runs over the B = n V views, and values that belong to all views.
        n: number of particles.
        share: give every particle all views.

    Returns:
        n batches with the keys of `batch`; values that belong to all views are in each.

    Raises:
        UserError: B is not a multiple of n, or the batch has no cameras.
    """
    if share:
        return [dict(batch) for _ in range(n)]
    n_views = count_views(batch)
    if n_views % n:
        raise UserError(
            f"data.batch_size={n_views} views cannot be divided among the {n} particles of "
            f"system.geometry.n_particles; give a multiple of {n}, such as {n_views - n_views % n + n}."
        )
    pieces: dict[str, Sequence[Tensor]] = {}
    for name, value in batch.items():
        if isinstance(value, Tensor) and _is_per_view(name, value, batch, n_views):
            pieces[name] = value.chunk(n)
    return [{name: pieces[name][index] if name in pieces else batch[name] for name in batch} for index in range(n)]


def count_views(batch: dict[str, Any]) -> int:
    """Number of views B in a batch.

    Raises:
        UserError: the batch has no cameras.
    """
    for name in CAMERAS:
        if name in batch:
            return len(batch[name])
    raise UserError(f"The batch has no views: it has {', '.join(batch) or 'nothing'}; accepted: {', '.join(CAMERAS)}.")


def _is_per_view(name: str, value: Tensor, batch: dict[str, Any], n_views: int) -> bool:
    if name == "bg_color":  # one color for all (C,), per view (B, C), or per ray (B, H, W, C) or (B H W, C)
        n_rays = batch["rays_o"][..., 0].numel() if "rays_o" in batch else n_views
        return value.ndim > 1 and len(value) in (n_views, n_rays)
    return value.ndim > 0 and len(value) == n_views


def join_views(outputs: Sequence[dict[str, Any]], n_rays: Sequence[int]) -> dict[str, Any]:
    """Renders of all particles in one dict.

    Args:
        outputs: output of each particle's renderer, or of some particles, all with the same keys.
        n_rays: number of rays of each output.

    Returns:
        tensors and lists: joined along the first axis, which runs over views or samples. `ray_indices`: shifted to
        index the rays of all particles. Scalar tensors: their mean. Meshes: `Meshes`. Other values: those of the first
        particle.
    """
    joined = {name: _join([output[name] for output in outputs]) for name in outputs[0]}
    if "ray_indices" in joined:
        first = [sum(n_rays[:index]) for index in range(len(outputs))]
        joined["ray_indices"] = torch.cat(
            [output["ray_indices"] + start for output, start in zip(outputs, first, strict=True)]
        )
    return joined


def _join(values: list[Any]) -> Any:
    first = values[0]
    if isinstance(first, Tensor):
        # A scalar describes one particle (such as NeuS's sharpness), and systems log a single number.
        return torch.cat(values) if first.ndim > 0 else torch.stack(values).mean()
    if isinstance(first, list):
        return [item for value in values for item in value]
    if hasattr(first, "normal_consistency"):
        return Meshes(values)
    return first


class Meshes(list):
    """Meshes of the particles; the regularizers that systems call on a mesh are means over the particles."""

    def normal_consistency(self) -> Tensor:
        return torch.stack([mesh.normal_consistency() for mesh in self]).mean()

    def laplacian(self) -> Tensor:
        return torch.stack([mesh.laplacian() for mesh in self]).mean()
