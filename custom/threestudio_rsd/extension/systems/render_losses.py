"""Regularization losses on renders; for one particle they equal those of threestudio's systems.

With n particles the rows are the views of the first particle, then those of the second, and so on. Each loss is the SUM
of the particles' losses, so that the gradient of a particle does not depend on the number of particles.
"""

from typing import Any

import torch
from torch import Tensor

from ...errors import UserError

OPACITY_MARGIN = 1e-3  # distance of opacities from 0 and 1, which keeps the logarithms finite; threestudio
SOLID = 0.5  # rays of higher opacity enter `z_variance_loss`; threestudio


def orientation_loss(out: dict[str, Any], n: int = 1) -> Tensor:
    """Penalty on normals of visible samples that face away from the camera (Ref-NeRF, eq. 11): scalar.

    Args:
        out: output of the renderer: for S samples `normal` and `t_dirs` (S, 3) and `weights` (S, 1); for rays `opacity`
            (n V, H, W, 1); if n > 1 also `ray_indices` (S,), the ray of each sample.
        n: number of particles.

    Raises:
        UserError: the output has no normals.
    """
    if "normal" not in out:
        raise UserError(
            "system.loss.lambda_orient is above 0, but the renders have no normals; accepted: "
            "system.geometry.normal_type=analytic (or finite_difference) and a material that needs normals, or "
            "lambda_orient=0."
        )
    facing_away = (out["normal"] * out["t_dirs"]).sum(-1).clamp_min(0) ** 2
    per_sample = out["weights"].detach().reshape(-1) * facing_away
    visible = (out["opacity"] > 0).reshape(n, -1).sum(1).clamp_min(1)
    particle: Any = 0 if n == 1 else out["ray_indices"] // (out["opacity"].numel() // n)
    return (per_sample / visible[particle]).sum()


def sparsity_loss(out: dict[str, Any], n: int = 1) -> Tensor:
    """Penalty on high opacity, a smoothed absolute value: scalar.

    Args:
        out: output of the renderer: `opacity` (n V, H, W, 1).
        n: number of particles.
    """
    return n * (out["opacity"] ** 2 + 0.01).sqrt().mean()


def opacity_loss(out: dict[str, Any], n: int = 1) -> Tensor:
    """Binary entropy of the opacity, which is lowest at 0 and 1: scalar.

    Args:
        out: output of the renderer: `opacity` (n V, H, W, 1).
        n: number of particles.
    """
    opacity = out["opacity"].clamp(OPACITY_MARGIN, 1 - OPACITY_MARGIN)
    return n * -(opacity * opacity.log() + (1 - opacity) * (1 - opacity).log()).mean()


def z_variance_loss(out: dict[str, Any], n: int = 1) -> Tensor:
    """Mean variance of depth on the solid rays of a particle (HiFA, Zhu et al., 2023), 0 if it has none: scalar.

    Args:
        out: output of the renderer: `z_variance` and `opacity`, both (n V, H, W, 1).
        n: number of particles.
    """
    solid = (out["opacity"] > SOLID).reshape(n, -1)
    # torch.where, not a product with the mask: the variance of an empty ray may be NaN.
    variance = torch.where(solid, out["z_variance"].reshape(n, -1), 0)
    return (variance.sum(1) / solid.sum(1).clamp_min(1)).sum()


RENDER_LOSSES = {
    "orient": orientation_loss,
    "sparsity": sparsity_loss,
    "opaque": opacity_loss,
    "z_variance": z_variance_loss,
}  # NAME of loss.lambda_NAME -> function


def loss_weight(system: Any, name: str) -> float:
    """Weight of a guidance's loss at the present step.

    Args:
        system: system whose `cfg.loss` has the weight.
        name: name of the loss, such as `loss_sds`, whose weight is `lambda_sds`.

    Raises:
        UserError: it has no weight.
    """
    key = f"lambda_{name.removeprefix('loss_')}"
    weight = system.cfg.loss.get(key)
    if weight is None:
        raise UserError(f"system.loss.{key} is missing; accepted: the weight of {name}, such as 1.")
    return system.C(weight)


def render_losses(system: Any, out: dict[str, Any], n: int = 1) -> dict[str, Tensor]:
    """Those of RENDER_LOSSES whose weight is above 0 at the present step, by NAME, without the weight.

    Args:
        system: system whose `cfg.loss` has the weights, as `lambda_NAME`.
        out: output of the renderer.
        n: number of particles.
    """
    return {name: function(out, n) for name, function in RENDER_LOSSES.items() if _weight(system, name) > 0}


def _weight(system: Any, name: str) -> float:
    return system.C(system.cfg.loss.get(f"lambda_{name}", 0.0))


def total_loss(
    system: Any, guided: dict[str, Any], out: dict[str, Any], n: int = 1, of_renders: dict[str, Tensor] | None = None
) -> Tensor:
    """Weighted sum of the losses of the guidance and RENDER_LOSSES, each of which is logged: scalar.

    Args:
        system: system that logs; its `cfg.loss` has the weights, as `lambda_NAME`.
        guided: output of the guidance: `loss_NAME`, and scalars to log.
        out: output of the renderer.
        n: number of particles.
        of_renders: result of `render_losses`; None: computed from `out`.

    Raises:
        UserError: a loss of the guidance has no weight.
    """
    loss = torch.zeros((), device=out["comp_rgb"].device)
    shown = dict(guided)
    for name, value in guided.items():
        if name.startswith("loss_"):
            loss = loss + value * loss_weight(system, name)
    for name, value in (render_losses(system, out, n) if of_renders is None else of_renders).items():
        shown[f"loss_{name}"] = value
        loss = loss + _weight(system, name) * value
    _log(system, shown)
    return loss


def _log(system: Any, values: dict[str, Any]) -> None:
    """Log the scalars of a step; systems whose particles may be spread over ranks have a method for it."""
    if hasattr(system, "log_step"):
        system.log_step(values)
        return
    for name, value in values.items():
        system.log(f"train/{name}", value)
