"""Score distillation sampling (Poole et al., 2022)."""

from torch import Tensor

from ..priors import NoisePredictions, PromptEmbedding
from .method import Method


class SDS(Method):
    """eps_w(x_t) - noise."""

    def direction(
        self,
        x_0: Tensor,
        x_t: Tensor,
        t: int,
        noise: Tensor,
        predictions: NoisePredictions,
        embedding: PromptEmbedding,
    ) -> Tensor:
        """See `Method.direction`."""
        return predictions.guided(self.guidance_scale) - noise
