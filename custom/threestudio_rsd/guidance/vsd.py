"""`repulsive-vsd-guidance`: ProlificDreamer's variational score distillation with repulsion."""

from dataclasses import dataclass

from torch import Tensor

from ..distillation import VSD
from ..host import register
from ..particles import particle_noise, particle_timesteps
from ..priors import PromptEmbedding
from .base import RepulsiveGuidance


@register("repulsive-vsd-guidance")
class RepulsiveVSDGuidance(RepulsiveGuidance):
    """VSD (Wang et al., 2024) with repulsion; returns `loss_vsd` and `loss_lora`, the training loss of eps_phi (35)."""

    @dataclass
    class Config(RepulsiveGuidance.Config):
        vsd_network: str = "lora"  # lora (ProlificDreamer), or unet: from scratch (C.1)
        lora_rank: int = 4  # ProlificDreamer
        unet_channels: list[int] | None = None  # widths of the U-Net's levels; null: by particle size (ours)

    cfg: Config
    loss_name = "vsd"

    def make_method(self) -> VSD:
        channels = tuple(self.cfg.unet_channels) if self.cfg.unet_channels else None
        return VSD(self.prior, self.cfg.guidance_scale, self.cfg.vsd_network, self.cfg.lora_rank, channels)

    def method_losses(self, particles: Tensor, embedding: PromptEmbedding) -> dict[str, Tensor]:
        """Denoising loss of eps_phi on this step's particles, at a timestep and noise of its own."""
        n, shape, device = len(particles), tuple(particles.shape[1:]), particles.device
        t = particle_timesteps(self.seed, self.step, n, self.prior.num_train_timesteps, device)
        noise = particle_noise(self.seed, "vsd_noise", self.step, n, shape, device)
        return {"loss_lora": self.method.loss(particles, t, noise, embedding)}
