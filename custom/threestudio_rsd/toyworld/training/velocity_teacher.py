"""Velocities expected by the text-to-image model, which the flow-matching model learns."""

from pathlib import Path

import torch
from torch import Tensor
from transformers import CLIPTextModel

from ...priors import load_prior


class VelocityTeacher:
    """E[noise - x_0 | x_t] of a trained noise-predicting model: targets without the noise of single samples.

    Its x_t over alpha_t + sigma_t is that of the flow at the time s = sigma_t / (alpha_t + sigma_t).

    Args:
        folder: pipeline of the model.
        device: device of the model.

    Attributes:
        flow_times: s of each timestep, (T,).
    """

    def __init__(self, folder: Path, device: torch.device | str) -> None:
        self.prior = load_prior(str(folder), device=device)
        self.text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder").float().eval().requires_grad_(False)
        self.text_encoder.to(device)
        timesteps = torch.arange(self.prior.num_train_timesteps, device=device)
        sigma = self.prior.sigma(timesteps)
        self.flow_times = (sigma / (self.prior.alpha(timesteps) + sigma)).flatten()

    def nearest(self, flow_time: Tensor) -> tuple[Tensor, Tensor]:
        """Timesteps whose flow times are nearest to the given ones, and whether those lie in their range; (N,) each."""
        timesteps = (self.flow_times - flow_time[:, None]).abs().argmin(dim=1)
        return timesteps, (flow_time >= self.flow_times[0]) & (flow_time <= self.flow_times[-1])

    @torch.no_grad()
    def velocity(self, noisy: Tensor, timesteps: Tensor, tokens: Tensor) -> Tensor:
        """Expected velocity, with the shape of `noisy`.

        Args:
            noisy: latents x_t of the flow at the flow times of `timesteps`, (N, C, H, W).
            timesteps: timesteps of the model, (N,).
            tokens: CLIP tokens of the captions, (N, L).
        """
        alpha, sigma = self.prior.alpha(timesteps), self.prior.sigma(timesteps)
        x_t = noisy * (alpha + sigma)
        noise = self.prior.raw_predict(x_t, timesteps, self.text_encoder(tokens)[0])
        clean = (x_t - sigma * noise) / alpha
        velocity: Tensor = noise - clean
        return velocity
