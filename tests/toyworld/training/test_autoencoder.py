"""Normalization of the latents to unit variance does not change reconstructions."""

import torch
from diffusers import AutoencoderKL
from threestudio_rsd.toyworld.training.autoencoder import normalize_latents


def test_normalized_latents_decode_to_the_same_images() -> None:
    autoencoder = AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=4, sample_size=16).eval()
    with torch.no_grad():
        autoencoder.quant_conv.weight.mul_(5)
        autoencoder.quant_conv.bias[:4] += torch.tensor([1.0, -2.0, 3.0, 0.0])
    images = torch.rand(64, 3, 16, 16)
    with torch.no_grad():
        before = autoencoder.decode(autoencoder.encode(images * 2 - 1).latent_dist.mode()).sample
        normalize_latents(autoencoder, images)
        posterior = autoencoder.encode(images * 2 - 1).latent_dist
        after = autoencoder.decode(posterior.mode()).sample
    assert torch.allclose(before, after, atol=1e-4)
    torch.manual_seed(1)
    latents = posterior.sample()
    assert latents.mean((0, 2, 3)).abs().max() < 0.05
    assert (latents.std((0, 2, 3)) - 1).abs().max() < 0.05
    assert autoencoder.config.scaling_factor == 1
