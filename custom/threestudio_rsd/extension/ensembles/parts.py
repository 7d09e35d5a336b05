"""`particles-material` and `particles-background`: N materials or backgrounds of any registered type."""

import torch
from torch import Tensor

from ...host import register
from .base import CountedEnsemble
from .view_batches import split_views


@register("particles-material")
class ParticlesMaterial(CountedEnsemble):
    """Materials (colors) of the particles, used by `particles-renderer` and `particles-exporter`."""

    kind = "material"


@register("particles-background")
class ParticlesBackground(CountedEnsemble):
    """Backgrounds of the particles."""

    kind = "background"

    def forward(self, dirs: Tensor) -> Tensor:
        """Background color of each particle along its view directions.

        Args:
            dirs: normalized view directions (B, H, W, 3). In training B = N V: V views of each particle, one particle
                after the other. In evaluation every particle gets all B views.

        Returns:
            (N V, H, W, C) in training, (N B, H, W, C) in evaluation.

        Raises:
            UserError: in training, B is not a multiple of N.
        """
        parts = split_views({"dirs": dirs}, self.n_particles, share=not self.training)
        return torch.cat([particle(**part) for particle, part in zip(self.particles, parts, strict=True)])
