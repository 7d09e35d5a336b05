"""`particle-image-system`: text to N images (Alg. 1, with the identity as generator)."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ...host import register
from ...particles.clipping import clip_row_gradients
from ...particles.ranks import Shard, gather_rows, share
from ..building import build
from ..guidance.base import RepulsiveGuidance
from ..ranks import SpreadParticles
from .base_2d import EnsembleSystem
from .render_losses import loss_weight


@register("particle-image-system")
class ParticleImageSystem(SpreadParticles, EnsembleSystem):
    """Optimizes the pixels or latents of N images; the ensemble is the batch of the guidance."""

    @dataclass
    class Config(EnsembleSystem.Config):
        guidance_type: str = "repulsive-sds-guidance"  # registered name
        guidance: dict = field(default_factory=dict)  # config of the guidance

    cfg: Config

    def configure(self) -> None:
        super().configure()
        self.guidance = build("system.guidance_type", self.cfg.guidance_type, self.cfg.guidance, RepulsiveGuidance)
        loss_weight(self, f"loss_{self.guidance.loss_name}")
        self.set_prior(self.guidance.prior)
        self.particles = self.make_particles(self.guidance.seed)
        self.shard = Shard.whole(self.ensemble.n_particles)

    def keep_particles(self, shard: Shard) -> None:
        """See `SpreadParticles`."""
        self.particles = nn.Parameter(self.particles.detach()[shard.rows].clone())

    def all_particles(self) -> Tensor:
        return gather_rows(self.particles.detach(), self.shard)

    def forward(self) -> tuple[Tensor, bool]:
        """Input of the guidance: (N, H, W, C) latents or images in [0, 1], and whether they are latents."""
        channels_last = self.particles.permute(0, 2, 3, 1)
        if self.ensemble.space == "latent":
            return channels_last, True
        return channels_last / 2 + 0.5, False

    def training_step(self, batch: dict, batch_idx: int) -> dict[str, Tensor]:
        rgb, rgb_as_latents = self()
        front = torch.zeros(self.shard.count, device=rgb.device)
        output = self.guidance(
            rgb,
            self.prompt_processor(),
            elevation=front,
            azimuth=front,
            camera_distances=front,
            rgb_as_latents=rgb_as_latents,
            shard=self.shard,
        )
        self.log_step(output)
        loss = torch.zeros((), device=rgb.device)
        for name, value in output.items():
            if name.startswith("loss_"):
                loss = loss + value * loss_weight(self, name)
        return {"loss": loss}

    def on_train_batch_end(self, outputs: Any, batch: dict, batch_idx: int) -> None:
        super().on_train_batch_end(outputs, batch, batch_idx)
        every = self.cfg.metrics_every
        if every > 0 and self.true_global_step % every == 0:
            particles = self.all_particles()
            measured = self.diversities(self.images(particles)) if self.makes_results else {}
            for name, value in share(measured).items():
                self.log(f"train/diversity_{name}", value, prog_bar=True)

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradient norm of each particle separately, and that of the guidance's networks.

        Args:
            optimizer: optimizer of the system.
            gradient_clip_val: largest norm; None or 0: no clipping.
            gradient_clip_algorithm: norm, or value, which Lightning does.
        """
        if not gradient_clip_val or gradient_clip_algorithm not in (None, "norm"):
            super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)
            return
        clip_row_gradients(self.particles, gradient_clip_val)
        others = [parameter for parameter in self.parameters() if parameter is not self.particles]
        nn.utils.clip_grad_norm_(others, gradient_clip_val)

    def run_facts(self) -> dict[str, Any]:
        """Entries of `EnsembleSystem.run_facts`, and the repulsion weight."""
        return {**super().run_facts(), "gamma": self.guidance.gamma}
