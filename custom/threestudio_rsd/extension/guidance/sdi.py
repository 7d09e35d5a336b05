"""`sdi-guidance`: score distillation via inversion, a rival of the flow."""

from dataclasses import dataclass

from torch import Tensor

from ...distillation import SDS, descending_grid, invert_noise
from ...errors import in_range
from ...host import register
from ...priors import PromptEmbedding
from .base import RepulsiveGuidance


@register("sdi-guidance")
class SDIGuidance(RepulsiveGuidance):
    """SDI (Lukoianov et al., 2024, arXiv 2405.15891); returns `loss_sdi`. DDIM inversion of a particle gives its noise.

    At the largest timestep, with which a descending run begins, the noise is that of the keys of noise: it makes the
    particles different. The authors also add noise in each step of the inversion and move its end by chance, which is
    left out.
    """

    @dataclass
    class Config(RepulsiveGuidance.Config):
        inversion_steps: int = 10  # DDIM steps of an inversion up to the largest timestep; authors' runs
        inversion_guidance_scale: float = -7.5  # guidance weight of the inversion; authors' runs

    cfg: Config
    loss_name = "sdi"

    def configure(self) -> None:
        in_range("inversion_steps", self.cfg.inversion_steps, 1)
        super().configure()

    def make_method(self) -> SDS:
        return SDS(self.prior, self.cfg.guidance_scale)

    def particle_noise(self, noise: Tensor, particles: Tensor, t: int, embedding: PromptEmbedding) -> Tensor:
        """Noise with which DDIM leads to the particles; `noise` itself at the largest timestep."""
        if t >= self.max_t:
            return noise
        rising = [
            each for each in descending_grid(self.prior.last_timestep, self.cfg.inversion_steps)[::-1] if each < t
        ]
        scale = self.cfg.inversion_guidance_scale
        return invert_noise(self.prior, particles.detach(), [*rising, t], embedding, scale)
