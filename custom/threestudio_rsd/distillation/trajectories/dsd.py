"""Diverse score distillation (DSD; Xu et al., 2024, arXiv 2412.06780): particles follow simulated DDIM trajectories."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ...errors import one_of
from ...priors import NoiseLevelInterval, Prior, PromptEmbedding
from ..method import Method, Step
from .probability_flow import finite_level, follow_flow, predict

REFERENCES = ("simulated", "interpolated")


def simulate_noise(
    prior: Prior,
    noise: Tensor,
    timesteps: Sequence[int],
    embedding: PromptEmbedding,
    guidance_scale: float = 7.5,
    guidance_interval: NoiseLevelInterval | None = None,
) -> Tensor:
    """Noise prediction eps_w(x_s) of DDIM at its last timestep s, where DDIM starts from x_T = sigma_T noise.

    Costs a noise prediction for each timestep.

    Args:
        prior: the diffusion model.
        noise: standard normal noise of each particle, the same in every step of the run, (N, ...).
        timesteps: timesteps of the trajectory from the largest T to s. Without any, the result is `noise`: the
            trajectory has not begun.
        embedding: the prompt.
        guidance_scale: see `follow_flow`.
        guidance_interval: see `follow_flow`.

    Returns:
        (N, ...)
    """
    if not timesteps:
        return noise
    start = finite_level(prior, timesteps[0]) * noise
    x = follow_flow(prior, start, timesteps, embedding, guidance_scale, guidance_interval)
    s = timesteps[-1]
    return predict(prior, prior.alpha(s) * x, s, embedding, guidance_scale, guidance_interval)


class DSD(Method):
    """Diverse score distillation: eps_w(x_t) - reference, with x_t = alpha_t x_0 + sigma_t eps* made by eps*.

    eps* = eps_w(x_s) is the simulated prediction at a timestep s >= t, see `simulate_noise`; it stands in for the noise
    of a step. DDIM changes the one-step estimate x_0 by -lambda_t (eps_w(x_t) - eps_w(x_s)) where the step before t was
    s, so with weight lambda_t (`snr`) and plain gradient descent the particles are DDIM's estimates.

    Args:
        prior: see `Method`.
        guidance_scale: see `Method`.
        reference: `simulated`, eps* itself; or `interpolated`, the prediction eps_c(alpha_s x_0 + sigma_s eps*) for the
            prompt without guidance, as in the authors' 3D runs, where renders leave the trajectory.

    Raises:
        UserError: an unknown reference.
    """

    def __init__(self, prior: Prior, guidance_scale: float = 7.5, reference: str = "simulated") -> None:
        super().__init__(prior, guidance_scale)
        one_of("reference", reference, REFERENCES)
        self.reference = reference
        self.reference_t: int | None = None  # s; None: the trajectory has not begun

    def direction(self, step: Step) -> Tensor:
        """See `Method.direction`; `step.noise` is eps*."""
        return step.predictions.guided(self.guidance_scale) - self._reference_noise(step)

    @torch.no_grad()
    def _reference_noise(self, step: Step) -> Tensor:
        if self.reference == "simulated" or self.reference_t is None:
            return step.noise
        s, prior = self.reference_t, self.prior
        x_s = prior.alpha(s) * step.x_0 + prior.sigma(s) * step.noise
        return prior.predict_noise(x_s, s, step.embedding, 1.0)
