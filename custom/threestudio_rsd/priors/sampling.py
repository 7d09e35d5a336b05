"""Samplers of a prior: ancestral sampling, and particle guidance, which adds repulsion to it."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import in_range
from .base import Prior, PromptEmbedding
from .noise_levels import NoiseLevelInterval, first_sampling_timestep, is_inside


@torch.no_grad()
def sample_ancestral(
    prior: Prior,
    embedding: PromptEmbedding,
    n_particles: int,
    noise: Callable[[int], Tensor],
    guidance_scale: float = 7.5,
    num_inference_steps: int = 30,
    callback: Callable[[int, Tensor], object] | None = None,
    guide: Callable[[int, Tensor, Tensor], Tensor] | None = None,
    guidance_interval: NoiseLevelInterval | None = None,
) -> Tensor:
    """Ancestral sampling: Euler discretization of the backward process (section 6.1.2; Karras et al., 2022).

    The sampler works on x = x_t / alpha_t, whose noise level is s = sigma_t / alpha_t. Each step follows the noise
    estimate to a level `down` below the next level, and adds the noise that leads back up to the next level.

    Args:
        prior: the diffusion model.
        embedding: the prompt.
        n_particles: number of samples N.
        noise: maps a step, 0 for the start and 1, 2, ... for the rest, to standard normal noise, (N, ...).
        guidance_scale: classifier-free guidance weight w (24).
        num_inference_steps: number of calls of the noise network.
        callback: called after each step with its index and x.
        guide: maps t, x and the noise estimate eps_w to the estimate that is followed instead; None: eps_w itself.
        guidance_interval: noise levels at which guidance acts; elsewhere only the prediction for the prompt is made,
            in half the computation. None: all levels.

    Returns:
        Samples, (N, *prior.latent_shape).

    Raises:
        UserError: num_inference_steps < 1, or see `first_sampling_timestep`.
        ValueError: `noise` is for another number of particles.

    Example:
        >>> from threestudio_rsd.priors import GaussianMixturePrior
        >>> prior = GaussianMixturePrior(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]), torch.full((2,), 1e-4), torch.ones(2))
        >>> samples = sample_ancestral(prior, prior.embed(), 5, lambda step: torch.randn(5, 2))
        >>> samples.abs().round()  # every sample lies in one of the two modes
        tensor([[1., 0.],
                [1., 0.],
                [1., 0.],
                [1., 0.],
                [1., 0.]])
    """
    in_range("num_inference_steps", num_inference_steps, 1)
    timesteps = torch.linspace(first_sampling_timestep(prior), 0, num_inference_steps).round().long().tolist()
    levels = [prior.sigma(t) / prior.alpha(t) for t in timesteps]
    levels.append(torch.zeros_like(levels[0]))
    start = noise(0).to(prior.device)
    if len(start) != n_particles:
        raise ValueError(f"noise for {len(start)} particles does not fit n_particles={n_particles}.")
    x = start * (1 + levels[0] ** 2).sqrt()
    for step, t in enumerate(timesteps):
        s, s_next = levels[step], levels[step + 1]
        weight = guidance_scale if is_inside(guidance_interval, prior, t) else 1.0
        estimate = prior.predict_noise(prior.alpha(t) * x, t, embedding, weight)
        if guide is not None:
            estimate = guide(t, x, estimate)
        up = (s_next**2 * (s**2 - s_next**2).clamp_min(0) / s**2).sqrt() if s > 0 else torch.zeros_like(s)
        down = (s_next**2 - up**2).sqrt()
        x = x + (down - s) * estimate
        if s_next > 0:
            x = x + up * noise(step + 1).to(x)
        if callback is not None:
            callback(step, x)
    return x


def sample_particle_guidance(
    prior: Prior,
    embedding: PromptEmbedding,
    n_particles: int,
    noise: Callable[[int], Tensor],
    repulsion: Callable[[Tensor], Tensor],
    strength: float,
    weight_power: float = -1.0,
    guidance_scale: float = 7.5,
    num_inference_steps: int = 30,
    callback: Callable[[int, Tensor], object] | None = None,
    guidance_interval: NoiseLevelInterval | None = None,
) -> Tensor:
    """Particle guidance: ancestral sampling of N samples that repel each other (Corso et al., 2024, arXiv 2310.13102).

    With the fixed potential of its section 5, the score of particle i gains the gradient of
    log Phi_t = -(a_t / 2) sum_ij k(x_i, x_j), which is -a_t R_i. The noise estimate is -s times the score at
    x = x_t / alpha_t, with s = sigma_t / alpha_t, so the estimate followed is eps_w + s a_t R_i: it moves the particles
    apart. As in the authors' code, the kernel compares the denoised estimates x - s eps_w, with eps_w held fixed.

    Args:
        prior: the diffusion model.
        embedding: the prompt.
        n_particles: number of samples N.
        noise: see `sample_ancestral`.
        repulsion: maps denoised estimates (N, ...) to R, the gradient of sum_{j != i} k_ij with respect to each
            particle, the others held constant: a `RepulsiveForce` of form `sum`.
        strength: factor in a_t = strength * s^weight_power; 0 is `sample_ancestral` to the bit and never calls
            `repulsion`.
        weight_power: power in a_t: -1 is the authors' code with features, 0 with latents. (The paper's text has
            a_t = 8 s and 30 s^2. Where s starts far above Stable Diffusion's 14.6, these push samples off the prior.)
        guidance_scale: see `sample_ancestral`.
        num_inference_steps: see `sample_ancestral`.
        callback: see `sample_ancestral`.
        guidance_interval: see `sample_ancestral`.

    Returns:
        Samples, (N, *prior.latent_shape).

    Raises:
        UserError: strength < 0 or not finite, or num_inference_steps < 1.
    """
    in_range("strength", strength, 0.0)

    def guide(t: int, x: Tensor, estimate: Tensor) -> Tensor:
        s = prior.sigma(t) / prior.alpha(t)
        if s == 0:  # x is the sample itself, and no step is left
            return estimate
        weight = strength * s**weight_power
        return estimate + s * weight * repulsion(x - s * estimate)

    return sample_ancestral(
        prior,
        embedding,
        n_particles,
        noise,
        guidance_scale,
        num_inference_steps,
        callback,
        guide if strength > 0 else None,
        guidance_interval,
    )
