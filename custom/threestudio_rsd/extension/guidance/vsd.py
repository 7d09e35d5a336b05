"""`repulsive-vsd-guidance`: ProlificDreamer's variational score distillation with repulsion."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...distillation import VSD, CameraCondition
from ...errors import UserError, one_of
from ...host import register
from ...particles import particle_chances, particle_noise, particle_timesteps
from ...particles.ranks import Shard
from ...priors import PromptEmbedding
from .base import RepulsiveGuidance

CAMERA_MATRICES = {"extrinsics": "c2w", "mvp": "mvp_mtx"}  # camera_condition -> key of the batch
CAMERA_DROPOUT = 0.1  # share of views on which eps_phi is trained without camera; threestudio


@register("repulsive-vsd-guidance")
class RepulsiveVSDGuidance(RepulsiveGuidance):
    """VSD (Wang et al., 2024) with repulsion; returns `loss_vsd`, and `loss_lora`, the loss (35) of eps_phi."""

    @dataclass
    class Config(RepulsiveGuidance.Config):
        vsd_network: str = "lora"  # eps_phi: lora (ProlificDreamer), or unet, trained from scratch (C.1)
        lora_rank: int = 4  # rank of the LoRA matrices; ProlificDreamer
        unet_channels: list[int] | None = None  # width of each level of the U-Net; null: by particle size (ours)
        # Camera matrix that eps_phi is conditioned on: null, extrinsics (c2w, threestudio's default) or mvp. With a
        # camera its prompt does not name the direction of view.
        camera_condition: str | None = None
        guidance_scale_lora: float = 1.0  # guidance scale of the camera in eps_phi; 1: no guidance; threestudio
        lora_cfg_training: bool = True  # also train eps_phi without camera, see CAMERA_DROPOUT; threestudio

    cfg: Config
    loss_name = "vsd"
    lowered = "guidance_scale; system.optimizer.params.guidance.lr"  # eps_phi may have diverged

    def make_method(self) -> VSD:
        cfg = self.cfg
        return VSD(
            self.prior, cfg.guidance_scale, guidance_scale_lora=cfg.guidance_scale_lora, **self.network_options()
        )

    def network_options(self) -> dict[str, Any]:
        """Arguments of `VSD` that define eps_phi.

        Raises:
            UserError: an unknown camera_condition.
        """
        cfg = self.cfg
        if cfg.camera_condition is not None:
            one_of("camera_condition", cfg.camera_condition, tuple(CAMERA_MATRICES))
        return {
            "network": cfg.vsd_network,
            "lora_rank": cfg.lora_rank,
            "unet_channels": tuple(cfg.unet_channels) if cfg.unet_channels else None,
            "camera_condition": cfg.camera_condition is not None,
        }

    def cameras(
        self, prompt_utils: Any, elevation: Tensor, azimuth: Tensor, camera_distances: Tensor, batch: dict[str, Any]
    ) -> CameraCondition | None:
        """Camera matrices and the prompt's embedding without view direction, on which eps_phi is conditioned.

        None if `camera_condition` is not set.

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
        self, particles: Tensor, embedding: PromptEmbedding, cameras: CameraCondition | None, rows: Shard
    ) -> dict[str, Tensor]:
        """Denoising loss (35) of eps_phi on this step's particles, at its own timesteps and noise.

        A mean over the rows of all ranks: this rank's share of it.
        """
        n, shape, device = len(particles), tuple(particles.shape[1:]), particles.device
        t = particle_timesteps(self.seed, self.step, n, self.prior.num_train_timesteps, device, rows.first)
        noise = particle_noise(self.seed, "vsd_noise", self.step, n, shape, device, rows.first)
        if cameras is None:
            loss = self.method.loss(particles, t, noise, embedding)
        else:
            matrices = self._without_some(cameras.matrices, rows.first)
            loss = self.method.loss(particles, t, noise, cameras.embedding, matrices)
        return {"loss_lora": loss if rows.is_whole else loss * (rows.count / rows.total)}

    def _without_some(self, cameras: Tensor, first: int) -> Tensor:
        """Cameras (N, 16), with a random share CAMERA_DROPOUT of them replaced by zeros, which mean no camera."""
        if not self.cfg.lora_cfg_training:
            return cameras
        dropped = particle_chances(self.seed, "camera", self.step, len(cameras), CAMERA_DROPOUT, first)
        return torch.where(dropped[:, None].to(cameras.device), 0, cameras)
