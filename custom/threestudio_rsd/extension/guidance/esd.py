"""`esd-guidance`: entropic score distillation."""

from dataclasses import dataclass

from ...distillation import ESD
from ...errors import UserError
from ...host import register
from .vsd import RepulsiveVSDGuidance


@register("esd-guidance")
class ESDGuidance(RepulsiveVSDGuidance):
    """ESD (Wang et al., 2024); returns `loss_esd`, and `loss_lora`, the training loss of eps_phi.

    The entropy weight alone makes the particles diverse; gamma > 0 adds RSD's force.
    """

    @dataclass
    class Config(RepulsiveVSDGuidance.Config):
        entropy_weight: float = 0.5  # lambda in [0, 1]; without cameras 0 is SDS, 1 is VSD; from the authors' README

    cfg: Config
    loss_name = "esd"

    def make_method(self) -> ESD:
        cfg = self.cfg
        if cfg.guidance_scale_lora != 1:
            raise UserError(
                f"guidance_scale_lora={cfg.guidance_scale_lora} is impossible: esd-guidance sets the weight of the "
                "camera by entropy_weight; accepted: 1."
            )
        if cfg.camera_condition is not None and not cfg.lora_cfg_training:
            raise UserError(
                "lora_cfg_training=False is impossible with a camera_condition: the entropy term needs an eps_phi that "
                "is also trained without camera; accepted: true."
            )
        return ESD(self.prior, cfg.guidance_scale, cfg.entropy_weight, **self.network_options())
