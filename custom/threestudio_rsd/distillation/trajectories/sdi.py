"""Score distillation via inversion (SDI; Lukoianov et al., 2024, arXiv 2405.15891): DDIM inversion gives the noise."""

from collections.abc import Sequence

from torch import Tensor

from ...priors import Prior, PromptEmbedding
from .probability_flow import follow_flow


def invert_noise(
    prior: Prior,
    x_0: Tensor,
    timesteps: Sequence[int],
    embedding: PromptEmbedding,
    guidance_scale: float = -7.5,
) -> Tensor:
    """Noise e with x_t = alpha_t x_0 + sigma_t e, where DDIM inversion leads from x_0 to x_t.

    With this noise SDS, whose target is the one-step estimate D(x_t), repeats DDIM's path to x_0. Costs a noise
    prediction for each timestep but the last.

    Args:
        prior: the diffusion model.
        x_0: particles, (N, ...).
        timesteps: rising; the first is that of x_0, about 0, the last is t.
        embedding: the prompt.
        guidance_scale: weight w of the inversion. The authors take the negative of that of the target.

    Returns:
        Noise, (N, ...). It is not standard normal where x_0 is no image of the prior.
    """
    x = follow_flow(prior, x_0, timesteps, embedding, guidance_scale)
    t = timesteps[-1]
    return (x - x_0) * (prior.alpha(t) / prior.sigma(t))
