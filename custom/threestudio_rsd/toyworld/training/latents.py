"""Latents of the training images, drawn from the autoencoder's posterior."""

from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from .data import Renders
from .trainer import bf16_autocast

BATCH = 64  # images encoded at a time


@dataclass
class Latents:
    """Posteriors of all images.

    Attributes:
        means: (N, 4, 16, 16).
        deviations: (N, 4, 16, 16).
    """

    means: Tensor
    deviations: Tensor

    def draw(self, index: Tensor) -> Tensor:
        """Latents of some images, (len(index), 4, 16, 16), drawn anew at each call."""
        index = index.to(self.means.device)
        return self.means[index] + self.deviations[index] * torch.randn_like(self.means[index])


@torch.no_grad()
def encode_renders(autoencoder: AutoencoderKL, renders: Renders, device: torch.device | str = "cpu") -> Latents:
    """Encode all images.

    Args:
        autoencoder: autoencoder, on `device`.
        renders: images.
        device: device of the latents.
    """
    means, deviations = [], []
    for part in torch.arange(len(renders)).split(BATCH):
        with bf16_autocast(device):
            posterior = autoencoder.encode(renders.batch(part).to(device) * 2 - 1).latent_dist
        means.append(posterior.mean.float())
        deviations.append(posterior.std.float())
    return Latents(torch.cat(means), torch.cat(deviations))
