"""`dsd-guidance`: diverse score distillation, a rival of the flow."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ...distillation import DSD, descending_grid, simulate_noise
from ...errors import UserError, in_range
from ...host import register
from ...priors import PromptEmbedding
from .base import RepulsiveGuidance


@register("dsd-guidance")
class DSDGuidance(RepulsiveGuidance):
    """DSD (Xu et al., 2024, arXiv 2412.06780); returns `loss_dsd`. Particles follow simulated DDIM trajectories."""

    @dataclass
    class Config(RepulsiveGuidance.Config):
        noise: str = "fixed"  # start of the trajectories: one noise for the run (DSD), or refreshed
        # DDIM steps of a whole trajectory; 10: the authors' runs; null: the trajectory visits the timesteps of the run,
        # which with weighting_strategy=snr and SGD is DDIM itself, at a cost that grows with the square of the steps
        simulation_steps: int | None = 10
        # most that the simulated s lies above t, as share of t - min_t, at random; authors' code
        lookahead: float = 0.1
        reference: str = "interpolated"  # subtracted noise: interpolated (authors' code) or simulated, see `DSD`

    cfg: Config
    loss_name = "dsd"

    def configure(self) -> None:
        cfg = self.cfg
        in_range("lookahead", cfg.lookahead, 0.0, 1.0)
        if cfg.simulation_steps is not None:
            in_range("simulation_steps", cfg.simulation_steps, 1)
        if cfg.noise == "fresh":
            raise UserError(
                "noise='fresh' is impossible: the trajectories of dsd-guidance start from noise that lasts; accepted: "
                "noise='fixed' or 'refreshed'."
            )
        super().configure()

    def make_method(self) -> DSD:
        return DSD(self.prior, self.cfg.guidance_scale, self.cfg.reference)

    def particle_noise(self, noise: Tensor, particles: Tensor, t: int, embedding: PromptEmbedding) -> Tensor:
        """Noise prediction at the end of the trajectories that start from `noise`."""
        timesteps = self._trajectory(t)
        self.method.reference_t = timesteps[-1] if timesteps else None
        interval = self.distillation.guidance_interval
        return simulate_noise(self.prior, noise, timesteps, embedding, self.cfg.guidance_scale, interval)

    def _trajectory(self, t: int) -> list[int]:
        """Timesteps from the largest one to s, at or above t; none at the first."""
        steps = self.cfg.simulation_steps
        if steps is None:
            return [self.schedule(k, self.min_t, self.max_t) for k in range(self.step // self.cfg.inner_steps)]
        if t >= self.max_t:
            return []
        chance = float(np.random.default_rng([self.seed, self.step]).random())
        s = min(t + int(chance * self.cfg.lookahead * (t - self.min_t)), self.max_t)
        return [*(each for each in descending_grid(self.max_t, steps) if each > s), s]
