"""FLUX.2 klein (Black Forest Labs, 2026)."""

from typing import Any

import torch
from torch import Tensor

from .base import TRANSFORMER_LORA_TARGETS, FlowFamilyPrior
from .registry import register_prior

STEPS = 50  # sampling steps for which the shift is that of the base model's pipeline


@register_prior("flux2-klein", ("Flux2KleinPipeline",))
class Flux2KleinPrior(FlowFamilyPrior):
    """FLUX.2 klein; particles are 2x2 patches of latents, normalized by the autoencoder's statistics.

    Arguments: see `FlowFamilyPrior`.
    """

    network_class = "Flux2Transformer2DModel"
    vae_class = "AutoencoderKLFlux2"
    latent_pixels = 2
    lora_targets = (*TRANSFORMER_LORA_TARGETS, "to_qkv_mlp_proj")

    @classmethod
    def log_shift(cls, config: Any, tokens: int) -> float:
        """See `FlowFamilyPrior.log_shift`; the authors' fit to measurements."""
        from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu

        return float(compute_empirical_mu(tokens, STEPS))

    @classmethod
    def encode_text(cls, pipe: Any, prompt: str, is_negative: bool, device: torch.device) -> Tensor:
        """See `FamilyPrior.encode_text`."""
        tokens: Tensor = pipe.encode_prompt(prompt, device=device)[0]
        return tokens[0]

    def velocity(self, x_t: Tensor, flow_time: Tensor, text: Tensor) -> Tensor:
        """See `FlowPrior.velocity`."""
        self.check_text(text, self.network.config.joint_attention_dim)
        n, _, height, width = x_t.shape
        one, device = torch.zeros(1, device=x_t.device), x_t.device
        rows, columns = torch.arange(height, device=device), torch.arange(width, device=device)
        words = torch.arange(text.shape[1], device=device)
        image_ids = torch.cartesian_prod(one, rows.float(), columns.float(), one).long()
        text_ids = torch.cartesian_prod(one, one, one, words.float()).long()
        output = self.network(
            hidden_states=x_t.flatten(2).transpose(1, 2),
            timestep=flow_time,
            encoder_hidden_states=text,
            txt_ids=text_ids.expand(n, -1, -1),
            img_ids=image_ids.expand(n, -1, -1),
            guidance=None,
        ).sample
        velocity: Tensor = output.transpose(1, 2).reshape(x_t.shape)
        return velocity

    def scale_latents(self, latents: Tensor) -> Tensor:
        """See `FamilyPrior.scale_latents`."""
        n, c, h, w = latents.shape
        patches = (
            latents.reshape(n, c, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 2, 4).reshape(n, 4 * c, h // 2, w // 2)
        )
        mean, std = self._statistics(patches)
        return (patches - mean) / std

    def unscale_latents(self, particles: Tensor) -> Tensor:
        """See `FamilyPrior.unscale_latents`."""
        mean, std = self._statistics(particles)
        n, c, h, w = particles.shape
        patches = (particles * std + mean).reshape(n, c // 4, 2, 2, h, w).permute(0, 1, 4, 2, 5, 3)
        return patches.reshape(n, c // 4, 2 * h, 2 * w)

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the patches' channels, (1, C, 1, 1)."""
        norm = self.vae.bn
        mean = norm.running_mean.to(like).reshape(1, -1, 1, 1)
        variance = norm.running_var.to(like).reshape(1, -1, 1, 1)
        return mean, (variance + self.vae.config.batch_norm_eps).sqrt()
