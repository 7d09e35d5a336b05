"""Particle guidance: samples that repel each other while they are drawn (Corso et al., 2024, arXiv 2310.13102)."""

import math
from collections.abc import Callable

from torch import Tensor

from ..errors import UserError
from .base import Prior, PromptEmbedding
from .sampling import sample_ancestral


def sample_particle_guidance(
    prior: Prior,
    embedding: PromptEmbedding,
    n: int,
    noise: Callable[[int], Tensor],
    repulsion: Callable[[Tensor], Tensor],
    strength: float,
    weight_power: float = -1.0,
    guidance_scale: float = 7.5,
    num_inference_steps: int = 30,
    callback: Callable[[int, Tensor], object] | None = None,
) -> Tensor:
    """Draw n samples together, (n, *prior.latent_shape), with the fixed potential of the paper's section 5.

    The score of particle i is added the gradient of log Phi_t = -(a_t / 2) sum_ij k(x_i, x_j), that is -a_t R_i. The
    noise estimate is -s times the score at x = x_t / alpha_t, so it is followed as eps_w + s a_t R_i: down its own
    gradient, hence away from the other particles. As in the authors' code the kernel sees the denoised estimates
    x - s eps_w, in which eps_w is held fixed. s = sigma_t / alpha_t.

    Args:
        prior, embedding, n, noise, guidance_scale, num_inference_steps, callback: see `sample_ancestral`.
        repulsion: maps denoised estimates (n, ...) to R, the gradient of sum_{j != i} k_ij with respect to each, the
            others held constant: a `RepulsiveForce` of form `sum`.
        strength: of a_t = strength * s^weight_power; 0 is `sample_ancestral` to the bit, and asks for no repulsion.
        weight_power: of the same; -1 is what the authors' code does with features, 0 what it does with latents. (The
            paper's text has a_t = 8 s and 30 s^2. Where s starts far above Stable Diffusion's 14.6 these tear samples
            off the prior.)

    Raises:
        UserError: a strength that is no number of at least 0, or num_inference_steps < 1.
    """
    if not 0 <= strength < math.inf:
        raise UserError(f"strength={strength} is impossible; accepted: a number of at least 0.")

    def guide(t: int, x: Tensor, estimate: Tensor) -> Tensor:
        s = prior.sigma(t) / prior.alpha(t)
        weight = strength * s**weight_power
        return estimate + s * weight * repulsion(x - s * estimate)

    return sample_ancestral(
        prior,
        embedding,
        n,
        noise,
        guidance_scale,
        num_inference_steps,
        callback,
        guide if strength > 0 else None,
    )
