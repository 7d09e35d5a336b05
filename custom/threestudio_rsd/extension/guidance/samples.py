"""Sample images of a guidance, which threestudio's `prolificdreamer-system` shows with `visualize_samples`."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...host import warn
from ...particles import particle_noise
from ...priors import sample_ancestral

if TYPE_CHECKING:
    from .base import RepulsiveGuidance

STEPS = 30  # of the sampler


class SampleImages:
    """Mixin of guidance modules: `sample` and `sample_lora`, with the arguments of threestudio's own VSD guidance."""

    def sample(
        self: Any, prompt_utils: Any, elevation: Tensor, azimuth: Tensor, camera_distances: Tensor, seed: int = 0,
        **batch: Any,
    ) -> Tensor:  # fmt: skip
        """Samples of the prior for the prompt of each view.

        Args:
            prompt_utils: output of the prompt processor.
            elevation: elevation of each camera, degrees, (N,).
            azimuth: azimuth of each camera, degrees, (N,).
            camera_distances: distance of each camera from the origin, (N,).
            seed: seed of the noise.
            **batch: other entries of the data's batch, not used.

        Returns:
            (N, H, W, 3) in [0, 1]
        """
        return _sample(self, None, prompt_utils, elevation, azimuth, camera_distances, seed)

    def sample_lora(
        self: Any, prompt_utils: Any, elevation: Tensor, azimuth: Tensor, camera_distances: Tensor, seed: int = 0,
        **batch: Any,
    ) -> Tensor:  # fmt: skip
        """Samples of the network eps_phi that VSD trains, see `sample`; of the prior where there is no network."""
        if not hasattr(self.method, "predict_noise"):
            warn(f"{type(self).__name__} trains no network: these samples are the prior's.")
            return _sample(self, None, prompt_utils, elevation, azimuth, camera_distances, seed)
        cameras = self.cameras(prompt_utils, elevation, azimuth, camera_distances, batch)
        matrices = None if cameras is None else cameras.matrices

        def own_noise(t: int, x: Tensor, estimate: Tensor) -> Tensor:
            embedding = cameras.embedding if cameras is not None else self._embedding(
                prompt_utils, elevation, azimuth, camera_distances
            )  # fmt: skip
            return self.method.predict_noise(self.prior.alpha(t) * x, t, embedding, matrices)

        return _sample(self, own_noise, prompt_utils, elevation, azimuth, camera_distances, seed)


@torch.no_grad()
def _sample(
    guidance: "RepulsiveGuidance",
    guide: Any,
    prompt_utils: Any,
    elevation: Tensor,
    azimuth: Tensor,
    camera_distances: Tensor,
    seed: int,
) -> Tensor:
    prior, n = guidance.prior, len(elevation)
    latents = sample_ancestral(
        prior,
        guidance._embedding(prompt_utils, elevation, azimuth, camera_distances),
        n,
        lambda step: particle_noise(seed, "samples", step, n, tuple(prior.latent_shape), prior.device),
        guidance_scale=guidance.cfg.guidance_scale,
        num_inference_steps=STEPS,
        guide=guide,
    )
    return prior.decode(latents).permute(0, 2, 3, 1)
