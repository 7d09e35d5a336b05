"""`svgd-guidance`: Stein variational gradient descent, the baseline of Fig. 5."""

from dataclasses import dataclass
from typing import Any

from ...distillation import SVGD, feature_decoder
from ...errors import UserError
from ...host import get_device, register
from ...repulsion import RBFKernel, RepulsiveForce, load_features
from .nfsd import EmptyPromptGuidance


@register("svgd-guidance")
class SVGDGuidance(EmptyPromptGuidance):
    """SVGD on NFSD or SDS directions (36); returns `loss_svgd`. It has a repulsion of its own, so gamma must be 0."""

    @dataclass
    class Config(EmptyPromptGuidance.Config):
        features: str = "euclidean"  # as in CSD; other values: see repulsive-sds-guidance
        svgd_base: str = "nfsd"  # base method of the directions: nfsd (Fig. 5) or sds

    cfg: Config
    loss_name = "svgd"
    spreads_particles = False  # a particle follows the directions of all

    def configure(self) -> None:
        if self.cfg.gamma != 0:
            raise UserError(
                f"gamma={self.cfg.gamma} is impossible: svgd-guidance has a repulsion of its own; accepted: 0."
            )
        super().configure()

    def _views_per_particle(self, n_views: int, batch: dict[str, Any]) -> int:
        v = super()._views_per_particle(n_views, batch)
        if v > 1:
            raise UserError(
                f"views_per_particle={v} is impossible: svgd-guidance takes one view per particle; set "
                "data.batch_size to data.n_particles."
            )
        return v

    def make_method(self) -> SVGD:
        euclidean = self.cfg.features == "euclidean"
        features = load_features(self.cfg.features, bundled=self.prior.is_bundled, device=get_device())
        force = RepulsiveForce(
            features,
            RBFKernel(self.cfg.bandwidth),
            decode=None if euclidean else feature_decoder(self.cfg.feature_decoder, self.prior, features),
            form="sum",
            chunk_size=self.cfg.chunk_size,
        )
        return SVGD(self.prior, self.cfg.guidance_scale, force, self.cfg.svgd_base)
