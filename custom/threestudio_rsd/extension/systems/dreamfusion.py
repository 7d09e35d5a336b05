"""`particle-dreamfusion-system`: N scenes by score distillation with repulsion."""

from ...host import register
from .base_3d import ParticleLift3DSystem


@register("particle-dreamfusion-system")
class ParticleDreamFusionSystem(ParticleLift3DSystem):
    """DreamFusion (Poole et al., 2022) on an ensemble; any guidance without parameters of its own."""

    def on_fit_start(self) -> None:
        super().on_fit_start()
        self.make_guidance()
