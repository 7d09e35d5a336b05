"""Repulsion of the guidance modules: its config keys, and how they build the force."""

from dataclasses import dataclass
from typing import Any

import torch

from ...distillation import feature_decoder
from ...errors import UserError, in_range, one_of
from ...priors import Prior
from ...priors.noise_levels import has_inside, interval_from
from ...repulsion import POTENTIALS, RBFKernel, RepulsiveForce, load_features

RENDER = "render"  # feature_decoder: the force acts on the images that are passed in, which need no decoder


@dataclass
class RepulsionConfig:
    """Keys of the repulsion."""

    gamma: Any = 0.0  # repulsion weight; number or schedule [start_step, start, end, end_step]; section 6.1
    kernel_input: str = "noisy"  # noisy (the paper), clean, denoised (ours)
    features: str = "dino"  # dino (the paper), dinov2, clip, lpips, euclidean, a folder or a hub id
    bandwidth: Any = "median"  # h in squared feature units, or median: h = m^2 / log N (6.1)
    include_self: bool = False  # include j = i in the sum, as printed in (15)
    force_form: str = "log_sum"  # log_sum (15), sum_log (8), sum (36), or order_two (SPARKE; j = i always counts)
    force_scale: str = "sigma"  # s(t): sigma (Alg. 1), constant, one_minus_alpha_cumprod (authors' DeepFloyd runs)
    repulsion_min_step_percent: float = 0.0  # lowest t / T at which the force acts (ours)
    repulsion_max_step_percent: float = 1.0  # highest t / T at which the force acts (ours)
    repulsion_interval: list[float] | None = None  # levels sigma / alpha in (low, high] with force; null: all (ours)
    repulsion_every: int = 1  # the force acts in every k-th step (ours)
    repulsion_refresh: int = 1  # steps for which a computed force is used, in 2D (ours)
    # Images whose features are compared: full (decoded, the paper), resized (decoded at the feature network's
    # resolution), linear (a linear map of the latents), render (3D, clean kernel: the renders themselves), or the
    # folder or hub id of an AutoencoderTiny (ours)
    feature_decoder: str = "full"
    chunk_size: int | None = None  # particles differentiated at once; null: all where memory allows (ours)


def check_repulsion(cfg: Any) -> None:
    """Check the values of `RepulsionConfig` that no other class checks.

    Raises:
        UserError: an impossible value, or keys that exclude each other.
    """
    one_of("force_form", cfg.force_form, tuple(POTENTIALS))
    in_range("repulsion_min_step_percent", cfg.repulsion_min_step_percent, 0.0, 1.0)
    in_range("repulsion_max_step_percent", cfg.repulsion_max_step_percent, 0.0, 1.0)
    in_range("repulsion_every", cfg.repulsion_every, 1)
    in_range("repulsion_refresh", cfg.repulsion_refresh, 1)
    if cfg.repulsion_every > 1 and cfg.repulsion_refresh > 1:
        raise UserError(
            f"repulsion_every={cfg.repulsion_every} and repulsion_refresh={cfg.repulsion_refresh} exclude each other: "
            "between its steps the force is zero or the last one; accepted: 1 for one of them."
        )
    if cfg.feature_decoder == RENDER and (cfg.kernel_input != "clean" or cfg.inner_steps > 1):
        raise UserError(
            "feature_decoder='render' compares the clean renders of every step; accepted with it: "
            f"kernel_input='clean', not {cfg.kernel_input!r}, and inner_steps=1, not {cfg.inner_steps}."
        )


def make_force(cfg: Any, prior: Prior, device: torch.device) -> RepulsiveForce | None:
    """Repulsive force of a config; None if it never acts, so that no network is loaded."""
    if cfg.gamma == 0 or _acts_nowhere(cfg, prior):
        return None
    features = load_features(cfg.features, bundled=prior.is_bundled, device=device)
    return RepulsiveForce(
        features,
        RBFKernel(cfg.bandwidth),
        decode=None if cfg.feature_decoder == RENDER else feature_decoder(cfg.feature_decoder, prior, features),
        include_self=cfg.include_self,
        form=cfg.force_form,
        chunk_size=cfg.chunk_size,
    )


def acting_gamma(cfg: Any, gamma: float, step: int, t: int, num_train_timesteps: int) -> float:
    """Repulsion weight of a step: `gamma`, or 0 in steps and at timesteps without force."""
    inside = cfg.repulsion_min_step_percent <= t / num_train_timesteps <= cfg.repulsion_max_step_percent
    return gamma if inside and step % cfg.repulsion_every == 0 else 0.0


def _acts_nowhere(cfg: Any, prior: Prior) -> bool:
    """Whether no timestep lies where the force acts."""
    interval = interval_from("repulsion_interval", cfg.repulsion_interval)
    return cfg.repulsion_min_step_percent > cfg.repulsion_max_step_percent or not has_inside(interval, prior)
