"""Losses on what a renderer returned; for one particle they are those of threestudio's systems.

With n particles the views are particle-major, and each loss is the SUM of the particles' own losses, so that the
pull on one particle does not depend on how many others there are.
"""

from typing import Any

import torch
from torch import Tensor

from ...errors import UserError

OPACITY_MARGIN = 1e-3  # keeps the logarithms finite
SOLID = 0.5  # opacity from which a ray's depth counts


def orientation_loss(out: dict[str, Any], n: int = 1) -> Tensor:
    """Penalty on normals of visible samples that face away from the camera (Ref-NeRF, eq. 11): scalar.

    Args:
        out: `normal` and `t_dirs` (S, 3), `weights` (S, 1) of the samples, `opacity` (n V, H, W, 1); with n > 1 also
            `ray_indices` (S,) into all rays.
        n: number of particles.

    Raises:
        UserError: the renderer gave no normals.
    """
    if "normal" not in out:
        raise UserError(
            "system.loss.lambda_orient is above 0, but the renderer gave no normals; accepted: "
            "system.geometry.normal_type=analytic (or finite_difference) and a material that asks for normals, or "
            "lambda_orient=0."
        )
    facing_away = (out["normal"] * out["t_dirs"]).sum(-1).clamp_min(0) ** 2
    per_sample = out["weights"].detach().reshape(-1) * facing_away
    visible = (out["opacity"] > 0).reshape(n, -1).sum(1).clamp_min(1)
    particle: Any = 0 if n == 1 else out["ray_indices"] // (out["opacity"].numel() // n)
    return (per_sample / visible[particle]).sum()


def sparsity_loss(out: dict[str, Any], n: int = 1) -> Tensor:
    """Penalty on `opacity` (n V, H, W, 1), a smoothed absolute value: scalar."""
    return n * (out["opacity"] ** 2 + 0.01).sqrt().mean()


def opacity_loss(out: dict[str, Any], n: int = 1) -> Tensor:
    """Entropy of `opacity` (n V, H, W, 1), which draws it to 0 or 1: scalar."""
    opacity = out["opacity"].clamp(OPACITY_MARGIN, 1 - OPACITY_MARGIN)
    return n * -(opacity * opacity.log() + (1 - opacity) * (1 - opacity).log()).mean()


def z_variance_loss(out: dict[str, Any], n: int = 1) -> Tensor:
    """Mean `z_variance` of a particle's solid rays (HiFA, Zhu et al., 2023), 0 where it has none: scalar.

    Args:
        out: `z_variance` and `opacity`, both (n V, H, W, 1).
        n: number of particles.
    """
    solid = (out["opacity"] > SOLID).reshape(n, -1)
    # Chosen, not multiplied: the variance of an empty ray may be NaN.
    variance = torch.where(solid, out["z_variance"].reshape(n, -1), 0)
    return (variance.sum(1) / solid.sum(1).clamp_min(1)).sum()


RENDER_LOSSES = {
    "orient": orientation_loss,
    "sparsity": sparsity_loss,
    "opaque": opacity_loss,
    "z_variance": z_variance_loss,
}  # by the name after `lambda_`


def total_loss(system: Any, guided: dict[str, Any], out: dict[str, Any], n: int = 1) -> Tensor:
    """What a system descends: the guidance's losses and those of RENDER_LOSSES, each logged and weighted: scalar.

    Args:
        system: whose `cfg.loss` has the weights, as `lambda_NAME`.
        guided: what the guidance returned: `loss_NAME`, and scalars to log.
        out: what the renderer returned.
        n: number of particles.

    Raises:
        UserError: a loss of the guidance has no weight.
    """
    weights = system.cfg.loss
    loss = torch.zeros((), device=out["comp_rgb"].device)
    for name, value in guided.items():
        system.log(f"train/{name}", value)
        if name.startswith("loss_"):
            key = f"lambda_{name.removeprefix('loss_')}"
            if weights.get(key) is None:
                raise UserError(f"system.loss.{key} is missing; accepted: the weight of {name}, such as 1.")
            loss = loss + value * system.C(weights[key])
    for name, function in RENDER_LOSSES.items():
        weight = system.C(weights.get(f"lambda_{name}", 0.0))
        if weight > 0:
            value = function(out, n)
            system.log(f"train/loss_{name}", value)
            loss = loss + weight * value
    return loss
