"""`ancestral-sampling-system`: stochastic sampling of the prior, the paper's upper bound of diversity (6.1.2)."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from ...errors import UserError, in_range
from ...finite import StepCheck, note
from ...host import register
from ...particles import particle_noise
from ...priors import PromptEmbedding, sample_ancestral
from ..prior_config import PriorConfig, configured_prior, configured_seed
from .base_2d import EnsembleSystem

HALF = "system.half_precision_weights=false"  # of priors that overflow in half precision


@register("ancestral-sampling-system")
class AncestralSamplingSystem(EnsembleSystem):
    """Euler-ancestral sampling with the outputs and metrics of the 2D distillation systems.

    All sampling steps run in one training step.
    """

    @dataclass
    class Config(PriorConfig, EnsembleSystem.Config):
        num_inference_steps: int = 30  # Euler steps; 6.1.2
        metrics_every: int = 0  # metrics are computed at the end only
        seed: int | None = None  # seed of the noise; null: seed of the run

    cfg: Config

    def configure(self) -> None:
        super().configure()
        if self.ensemble.space != "latent":
            raise UserError(
                "particles.space='pixel' is impossible: sampling runs in the space of the prior; accepted: latent."
            )
        in_range("system.num_inference_steps", self.cfg.num_inference_steps, 1)
        if self.prompt_processor.cfg.use_perp_neg:
            raise UserError("use_perp_neg=True is impossible: sampling has no views; accepted: false.")
        self.set_prior(configured_prior(self.cfg))
        self.seed = configured_seed(self.cfg.seed)
        self.particles = self.make_particles(self.seed)
        self.automatic_optimization = False  # the sampler sets the particles; the optimizer only counts the step

    def training_step(self, batch: dict, batch_idx: int) -> None:
        started = time.perf_counter()
        front = torch.zeros(1, device=self.particles.device)
        text = self.prompt_processor().get_text_embeddings(front, front, front, False).to(self.prior.device)
        conditional, negative = text.chunk(2)
        with tqdm(total=self.cfg.num_inference_steps, desc="Sampling", leave=False) as bar:

            def after_step(index: int, latents: Tensor) -> None:
                with StepCheck(index).active() as check:
                    note("the latent", latents, lower=f"system.guidance_scale; {HALF}")
                check.stop()
                bar.update()

            samples = self.sample(PromptEmbedding(conditional, negative, negative), after_step)
        with torch.no_grad():
            self.particles.copy_(samples)
        self.optimizers().step()
        self.count_time(time.perf_counter() - started, self.cfg.num_inference_steps)

    def sample(self, embedding: PromptEmbedding, callback: Callable[[int, Tensor], object]) -> Tensor:
        """Sample the ensemble.

        Args:
            embedding: prompt embedding.
            callback: called after each sampling step with its index and the latents.

        Returns:
            latents (N, *latent_shape).
        """
        return sample_ancestral(
            self.prior,
            embedding,
            self.ensemble.n_particles,
            guidance_scale=self.cfg.guidance_scale,
            num_inference_steps=self.cfg.num_inference_steps,
            noise=self.noise,
            callback=callback,
        )

    def noise(self, step: int) -> Tensor:
        """Noise (N, *latent_shape) of a sampling step, from one generator per particle."""
        shape = tuple(self.particles.shape[1:])
        return particle_noise(self.seed, "sampling", step, self.ensemble.n_particles, shape, self.particles.device)

    def run_facts(self) -> dict[str, Any]:
        """Entries of `EnsembleSystem.run_facts`; seconds per step are those of an Euler step."""
        return {**super().run_facts(), "gamma": None}
