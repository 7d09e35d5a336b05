"""What a base method owes: the direction that one particle descends."""

from dataclasses import dataclass

from torch import Tensor, nn

from ..errors import UserError
from ..priors import NoisePredictions, Prior, PromptEmbedding


@dataclass
class Views:
    """What a method's own noise network is told about the views.

    Attributes:
        cameras: flattened camera matrices, (N, 16).
        embedding: the prompt without words for the direction of view, which the cameras say.
    """

    cameras: Tensor
    embedding: PromptEmbedding


@dataclass
class Step:
    """What a base method sees of one step.

    Attributes:
        x_0: particles (N, ...).
        x_t: alpha_t x_0 + sigma_t noise.
        t: timestep in [0, T), shared by all particles.
        noise: independent standard normal noise, like x_0.
        predictions: the prior's noise predictions of x_t.
        embedding: the prompt.
        views: for methods with a noise network of their own that is told the cameras.
    """

    x_0: Tensor
    x_t: Tensor
    t: int | Tensor
    noise: Tensor
    predictions: NoisePredictions
    embedding: PromptEmbedding
    views: Views | None = None


class Method(nn.Module):
    """Base of SDS, VSD, NFSD and SVGD.

    Args:
        prior: the diffusion model; held, but not a submodule, so that a checkpoint never carries its weights.
        guidance_scale: classifier-free guidance weight w (24), at least 0.

    Raises:
        UserError: guidance_scale < 0.
    """

    prior: Prior
    needs_negative = False  # whether `direction` reads the noise prediction for the negative prompt

    def __init__(self, prior: Prior, guidance_scale: float = 7.5) -> None:
        super().__init__()
        if not guidance_scale >= 0:
            raise UserError(f"guidance_scale={guidance_scale} is impossible; accepted: a number of at least 0.")
        object.__setattr__(self, "prior", prior)
        self.guidance_scale = guidance_scale

    def direction(self, step: Step) -> Tensor:
        """Direction to descend, (N, ...) like x_0."""
        raise NotImplementedError
