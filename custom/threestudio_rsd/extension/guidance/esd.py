"""`esd-guidance`: entropic score distillation."""

from dataclasses import dataclass

from ...distillation import ESD
from ...errors import UserError
from ...host import register
from .vsd import RepulsiveVSDGuidance


@register("esd-guidance")
class ESDGuidance(RepulsiveVSDGuidance):
    """ESD (Wang et al., 2024); returns `loss_esd` and `loss_lora`, the training loss of eps_phi.

    Diversity comes from the entropy weight; a gamma above 0 adds RSD's force to it.
    """

    @dataclass
    class Config(RepulsiveVSDGuidance.Config):
        entropy_weight: float = 0.5  # lambda in [0, 1]; without cameras 0 is SDS and 1 VSD; the authors' README

    cfg: Config
    loss_name = "esd"

    def make_method(self) -> ESD:
        cfg = self.cfg
        if cfg.guidance_scale_lora != 1:
            raise UserError(
                f"guidance_scale_lora={cfg.guidance_scale_lora} is impossible: esd-guidance sets it to "
                "1 - entropy_weight; accepted: 1."
            )
        if cfg.camera_condition is not None and not cfg.lora_cfg_training:
            raise UserError(
                "lora_cfg_training=False is impossible with a camera_condition: the entropy is that of eps_phi without "
                "camera, which must be trained; accepted: true."
            )
        return ESD(
            self.prior,
            cfg.guidance_scale,
            cfg.entropy_weight,
            cfg.vsd_network,
            cfg.lora_rank,
            tuple(cfg.unet_channels) if cfg.unet_channels else None,
            self.has_cameras(),
        )
