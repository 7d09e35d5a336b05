"""`particle-prolificdreamer-system`: N scenes by variational score distillation with repulsion."""

from ...host import register
from .base_3d import ParticleLift3DSystem


@register("particle-prolificdreamer-system")
class ParticleProlificDreamerSystem(ParticleLift3DSystem):
    """ProlificDreamer's first stage (Wang et al., 2024) on an ensemble.

    One eps_phi learns all particles' renders. It is trained beside them, so the guidance exists before the optimizer.
    """

    def configure(self) -> None:
        super().configure()
        self.make_guidance()
