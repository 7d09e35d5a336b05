"""Interface of the base methods: the direction that a particle descends."""

from dataclasses import dataclass

from torch import Tensor, nn

from ..errors import in_range
from ..priors import NoisePredictions, Prior, PromptEmbedding


@dataclass
class CameraCondition:
    """Cameras of the views, for methods whose own noise network takes them.

    Attributes:
        matrices: flattened camera matrices, (N, 16).
        embedding: the prompt without words for the direction of view, which the cameras replace.
    """

    matrices: Tensor
    embedding: PromptEmbedding


@dataclass
class Step:
    """Input of a base method in one step.

    Attributes:
        x_0: particles (N, ...).
        x_t: alpha_t x_0 + sigma_t noise.
        t: timestep in [0, T), shared by all particles.
        noise: independent standard normal noise, like x_0.
        predictions: the prior's noise predictions of x_t.
        embedding: the prompt.
        cameras: cameras of the views, for methods whose own noise network takes them.
    """

    x_0: Tensor
    x_t: Tensor
    t: int | Tensor
    noise: Tensor
    predictions: NoisePredictions
    embedding: PromptEmbedding
    cameras: CameraCondition | None = None


class Method(nn.Module):
    """Base class of SDS, VSD, ESD, NFSD and SVGD.

    Args:
        prior: the diffusion model. It is no submodule, so that checkpoints do not contain its weights.
        guidance_scale: classifier-free guidance weight w (24), at least 0.

    Raises:
        UserError: guidance_scale < 0.
    """

    prior: Prior
    only_guided = False  # whether `direction` reads no prediction but the guided one
    needs_negative = False  # whether `direction` reads the noise prediction for the negative prompt

    def __init__(self, prior: Prior, guidance_scale: float = 7.5) -> None:
        super().__init__()
        in_range("guidance_scale", guidance_scale, 0.0)
        object.__setattr__(self, "prior", prior)
        self.guidance_scale = guidance_scale

    def direction(self, step: Step) -> Tensor:
        """Direction to descend, (N, ...) like x_0."""
        raise NotImplementedError
