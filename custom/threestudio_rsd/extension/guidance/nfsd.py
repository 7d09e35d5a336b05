"""`repulsive-nfsd-guidance`: noise-free score distillation with repulsion."""

from dataclasses import replace
from typing import Any

from torch import Tensor

from ...distillation import NFSD
from ...host import register
from ...priors import PromptEmbedding
from .base import RepulsiveGuidance


class EmptyPromptGuidance(RepulsiveGuidance):
    """Guidance with separate embeddings of the empty and the negative prompt.

    threestudio's prompt processors embed only the negative prompt, so the prior embeds the empty one here.
    """

    def configure(self) -> None:
        super().configure()
        self._empty = self.prior.embed("").unconditional

    def _embedding(
        self, prompt_utils: Any, elevation: Tensor, azimuth: Tensor, camera_distances: Tensor
    ) -> PromptEmbedding:
        embedding = super()._embedding(prompt_utils, elevation, azimuth, camera_distances)
        empty = self._empty.to(embedding.conditional.device, embedding.conditional.dtype)
        return replace(embedding, unconditional=empty.expand_as(embedding.conditional))


@register("repulsive-nfsd-guidance")
class RepulsiveNFSDGuidance(EmptyPromptGuidance):
    """NFSD (Katzir et al., 2024) with repulsion; returns `loss_nfsd`."""

    loss_name = "nfsd"

    def make_method(self) -> NFSD:
        return NFSD(self.prior, self.cfg.guidance_scale)
