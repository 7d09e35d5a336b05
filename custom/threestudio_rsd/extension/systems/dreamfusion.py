"""`particle-dreamfusion-system`: text to N 3D scenes with score distillation and repulsion."""

from ...host import register
from .base_3d import ParticleLift3DSystem


@register("particle-dreamfusion-system")
class ParticleDreamFusionSystem(ParticleLift3DSystem):
    """DreamFusion (Poole et al., 2022) on an ensemble, for guidance modules without trained parameters."""

    def on_fit_start(self) -> None:
        super().on_fit_start()
        self.prepare_training()

    def prepare_training(self) -> None:
        """Build what only training needs; the stand-in's launcher calls it before it writes anything."""
        if not hasattr(self, "guidance"):
            self.make_guidance()
