"""`particle-prolificdreamer-system`: text to N 3D scenes with variational score distillation and repulsion."""

from ...host import register
from .base_3d import ParticleLift3DSystem


@register("particle-prolificdreamer-system")
class ParticleProlificDreamerSystem(ParticleLift3DSystem):
    """ProlificDreamer's first stage (Wang et al., 2024) on an ensemble.

    One eps_phi is trained on the renders of all particles. The guidance is built in `configure`, before the optimizer,
    which trains it.
    """

    def configure(self) -> None:
        super().configure()
        self.make_guidance()
