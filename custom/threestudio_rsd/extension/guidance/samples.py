"""Sample images of a guidance, which threestudio's `prolificdreamer-system` shows with `visualize_samples`."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ...host import warn
from ...particles import particle_noise
from ...priors import Prior, PromptEmbedding, sample_ancestral

STEPS = 30  # of the sampler


class SampleImages:
    """Mixin of guidance modules: `sample` and `sample_lora`, with the arguments of threestudio's own VSD guidance."""

    cfg: Any
    prior: Prior
    method: Any
    cameras: Callable[..., Any]
    _embedding: Callable[..., PromptEmbedding]

    def sample(
        self,
        prompt_utils: Any,
        elevation: Tensor,
        azimuth: Tensor,
        camera_distances: Tensor,
        seed: int = 0,
        **batch: Any,
    ) -> Tensor:
        """Samples of the prior for the prompt of each view.

        Args:
            prompt_utils: output of the prompt processor.
            elevation: elevation of each camera, degrees, (N,).
            azimuth: azimuth of each camera, degrees, (N,).
            camera_distances: distance of each camera from the origin, (N,).
            seed: seed of the noise.
            **batch: other entries of the data's batch.

        Returns:
            (N, H, W, 3) in [0, 1]
        """
        return self._sample(self._embedding(prompt_utils, elevation, azimuth, camera_distances), seed)

    def sample_lora(
        self,
        prompt_utils: Any,
        elevation: Tensor,
        azimuth: Tensor,
        camera_distances: Tensor,
        seed: int = 0,
        **batch: Any,
    ) -> Tensor:
        """Samples of the network eps_phi that VSD trains, see `sample`; of the prior where there is no network."""
        embedding = self._embedding(prompt_utils, elevation, azimuth, camera_distances)
        if not hasattr(self.method, "predict_noise"):
            warn(f"{type(self).__name__} trains no network: these samples are the prior's.")
            return self._sample(embedding, seed)
        cameras = self.cameras(prompt_utils, elevation, azimuth, camera_distances, batch)
        matrices, text = (None, embedding) if cameras is None else (cameras.matrices, cameras.embedding)

        def own_noise(t: int, x: Tensor, estimate: Tensor) -> Tensor:
            return self.method.predict_noise(self.prior.alpha(t) * x, t, text, matrices)

        return self._sample(embedding, seed, own_noise)

    @torch.no_grad()
    def _sample(
        self, embedding: PromptEmbedding, seed: int, guide: Callable[[int, Tensor, Tensor], Tensor] | None = None
    ) -> Tensor:
        prior, n = self.prior, len(embedding.conditional)
        latents = sample_ancestral(
            prior,
            embedding,
            n,
            lambda step: particle_noise(seed, "sampling", step, n, tuple(prior.latent_shape), prior.device),
            guidance_scale=self.cfg.guidance_scale,
            num_inference_steps=STEPS,
            guide=guide,
        )
        return prior.decode(latents).permute(0, 2, 3, 1)
