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
    """What is seen past the particles."""

    kind = "background"

    def forward(self, dirs: Tensor) -> Tensor:
        """Background of each particle in its own views.

        Args:
            dirs: normalized view directions (B, H, W, 3). In training B = N x V, particle by particle; in evaluation
                every particle is seen in all of them.

        Returns:
            (N V, H, W, C) in training, else (N B, H, W, C).

        Raises:
            UserError: in training, B does not divide by N.
        """
        parts = split_views({"dirs": dirs}, self.n_particles, share=not self.training)
        return torch.cat([particle(**part) for particle, part in zip(self.particles, parts, strict=True)])
