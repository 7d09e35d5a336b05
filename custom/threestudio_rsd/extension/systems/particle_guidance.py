"""`particle-guidance-system`: sampling with particle guidance (Corso et al., 2024)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...errors import in_range
from ...host import get_device, register
from ...priors import PromptEmbedding, sample_particle_guidance
from ...repulsion import RBFKernel, RepulsiveForce, load_features
from .ancestral_sampling import AncestralSamplingSystem


@register("particle-guidance-system")
class ParticleGuidanceSystem(AncestralSamplingSystem):
    """Ancestral sampling in which the particles repel each other.

    With strength 0 the samples are bit-identical to those of `ancestral-sampling-system`.
    """

    @dataclass
    class Config(AncestralSamplingSystem.Config):
        strength: float = 30.0  # weight of the potential: a_t = strength (sigma_t / alpha_t)^weight_power (ours)
        weight_power: float = -1.0  # -1 for features, 0 for euclidean latents, as in the code of Corso et al.
        features: str = "dino"  # dino (Corso et al.), dinov2, clip, lpips, a folder, a hub id; euclidean: the latents
        bandwidth: Any = "median"  # h in squared feature units, or median: h = m^2 / log N
        chunk_size: int | None = None  # particles decoded and differentiated at once; null: all (ours)

    cfg: Config

    def configure(self) -> None:
        super().configure()
        in_range("system.strength", self.cfg.strength, 0.0)
        self._repulsion = torch.zeros_like if self.cfg.strength == 0 else self._make_repulsion()

    def _make_repulsion(self) -> RepulsiveForce:
        """Repulsive force on the denoised latents: the gradient of the sum of kernels."""
        euclidean = self.cfg.features == "euclidean"
        return RepulsiveForce(
            load_features(self.cfg.features, bundled=self.prior.is_bundled, device=get_device()),
            RBFKernel(self.cfg.bandwidth),
            decode=None if euclidean else lambda latents: self.prior.decode(latents, clamp=False),
            form="sum",
            chunk_size=self.cfg.chunk_size,
        )

    def sample(self, embedding: PromptEmbedding, callback: Callable[[int, Tensor], object]) -> Tensor:
        """Sample with particle guidance; see `AncestralSamplingSystem.sample`."""
        return sample_particle_guidance(
            self.prior,
            embedding,
            self.ensemble.n_particles,
            self.noise,
            self._repulsion,
            self.cfg.strength,
            self.cfg.weight_power,
            guidance_scale=self.cfg.guidance_scale,
            num_inference_steps=self.cfg.num_inference_steps,
            callback=callback,
        )

    def run_facts(self) -> dict[str, Any]:
        """Entries of `AncestralSamplingSystem.run_facts`, and the strength."""
        return {**super().run_facts(), "strength": self.cfg.strength}
