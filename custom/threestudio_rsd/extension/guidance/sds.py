"""`repulsive-sds-guidance`: DreamFusion's score distillation with repulsion."""

from ...distillation import SDS
from ...host import register
from .base import RepulsiveGuidance


@register("repulsive-sds-guidance")
class RepulsiveSDSGuidance(RepulsiveGuidance):
    """SDS (Poole et al., 2022) with repulsion; returns `loss_sds`."""

    loss_name = "sds"

    def make_method(self) -> SDS:
        return SDS(self.prior, self.cfg.guidance_scale)
