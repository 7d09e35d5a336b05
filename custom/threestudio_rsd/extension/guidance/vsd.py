"""`repulsive-vsd-guidance`: ProlificDreamer's variational score distillation with repulsion."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...distillation import VSD, CameraCondition
from ...errors import UserError, one_of
from ...host import register
from ...particles import particle_chances, particle_noise, particle_timesteps
from ...priors import PromptEmbedding
from .base import RepulsiveGuidance

CAMERA_MATRICES = {"extrinsics": "c2w", "mvp": "mvp_mtx"}  # keys of the batch
CAMERA_DROPOUT = 0.1  # share of eps_phi's training without camera, for guidance_scale_lora; threestudio


@register("repulsive-vsd-guidance")
class RepulsiveVSDGuidance(RepulsiveGuidance):
    """VSD (Wang et al., 2024) with repulsion; returns `loss_vsd` and `loss_lora`, the training loss of eps_phi (35)."""

    @dataclass
    class Config(RepulsiveGuidance.Config):
        vsd_network: str = "lora"  # lora (ProlificDreamer), or unet: from scratch (C.1)
        lora_rank: int = 4  # ProlificDreamer
        unet_channels: list[int] | None = None  # widths of the U-Net's levels; null: by particle size (ours)
        # What eps_phi is told about a view: null, extrinsics (c2w, threestudio's default) or mvp. With a camera its
        # prompt says nothing about the direction of view.
        camera_condition: str | None = None
        guidance_scale_lora: float = 1.0  # weight of the camera in eps_phi; 1: as it is; threestudio
        lora_cfg_training: bool = True  # train eps_phi without camera now and then; threestudio

    cfg: Config
    loss_name = "vsd"

    def make_method(self) -> VSD:
        return VSD(
            self.prior,
            self.cfg.guidance_scale,
            self.cfg.vsd_network,
            self.cfg.lora_rank,
            tuple(self.cfg.unet_channels) if self.cfg.unet_channels else None,
            self.has_cameras(),
            self.cfg.guidance_scale_lora,
        )

    def has_cameras(self) -> bool:
        """Whether eps_phi is told the cameras. Raises UserError for an unknown kind of them."""
        if self.cfg.camera_condition is None:
            return False
        one_of("camera_condition", self.cfg.camera_condition, tuple(CAMERA_MATRICES))
        return True

    def cameras(
        self, prompt_utils: Any, elevation: Tensor, azimuth: Tensor, camera_distances: Tensor, batch: dict[str, Any]
    ) -> CameraCondition | None:
        """Cameras, and the prompt without direction of view, where eps_phi is told them.

        Raises:
            UserError: the data has no cameras.
        """
        if self.cfg.camera_condition is None:
            return None
        matrices = batch.get(CAMERA_MATRICES[self.cfg.camera_condition])
        if matrices is None:
            raise UserError(
                f"camera_condition={self.cfg.camera_condition!r} needs data with cameras; without them the accepted "
                "value is null."
            )
        text = prompt_utils.get_text_embeddings(elevation, azimuth, camera_distances, False).to(self.prior.device)
        conditional, negative = text.chunk(2)
        return CameraCondition(matrices.flatten(1), PromptEmbedding(conditional, negative, negative))

    def method_losses(
        self, particles: Tensor, embedding: PromptEmbedding, cameras: CameraCondition | None
    ) -> dict[str, Tensor]:
        """Denoising loss of eps_phi on this step's particles, at a timestep and noise of its own."""
        n, shape, device = len(particles), tuple(particles.shape[1:]), particles.device
        t = particle_timesteps(self.seed, self.step, n, self.prior.num_train_timesteps, device)
        noise = particle_noise(self.seed, "vsd_noise", self.step, n, shape, device)
        if cameras is None:
            return {"loss_lora": self.method.loss(particles, t, noise, embedding)}
        matrices = self._without_some(cameras.matrices)
        return {"loss_lora": self.method.loss(particles, t, noise, cameras.embedding, matrices)}

    def _without_some(self, cameras: Tensor) -> Tensor:
        """The cameras (N, 16), some of them zeros, which stand for no camera."""
        if not self.cfg.lora_cfg_training:
            return cameras
        dropped = particle_chances(self.seed, "camera", self.step, len(cameras), CAMERA_DROPOUT)
        return torch.where(dropped[:, None].to(cameras.device), 0, cameras)
