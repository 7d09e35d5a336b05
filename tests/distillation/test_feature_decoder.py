"""Decoders of the force: each against the prior's own."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from threestudio_rsd.distillation import LinearDecoder, feature_decoder
from threestudio_rsd.errors import UserError
from threestudio_rsd.files import data_path
from threestudio_rsd.images import read_images
from threestudio_rsd.priors import load_prior
from torch import nn

from tests.library_versions import needs_tiny_autoencoder


class Features(nn.Module):
    """Feature network with a fixed input size."""

    def __init__(self, image_size: int) -> None:
        super().__init__()
        self.image_size = image_size


def test_full_decoder_is_that_of_the_prior(bundled) -> None:
    latents = torch.randn(2, *bundled.latent_shape)
    assert torch.equal(feature_decoder("full", bundled)(latents), bundled.decode(latents, clamp=False))


@torch.no_grad()
def test_linear_decoder_shows_the_colors_of_images_it_was_not_fitted_to(bundled) -> None:
    images = read_images(str(data_path("load/inverse/examples")), 64)
    decoded = feature_decoder("linear", bundled)(bundled.encode(images))
    small = F.adaptive_avg_pool2d(images, decoded.shape[-2:])
    unexplained = (decoded - small).square().mean() / (small - small.mean((0, 2, 3), keepdim=True)).square().mean()
    assert unexplained < 0.25


def test_linear_decoder_is_the_same_in_every_run(bundled) -> None:
    assert torch.equal(LinearDecoder.fitted(bundled).weight, LinearDecoder.fitted(bundled).weight)


def test_resized_decoder_decodes_at_the_resolution_of_the_features(bundled) -> None:
    latents = torch.randn(2, *bundled.latent_shape)
    assert feature_decoder("resized", bundled, Features(32))(latents).shape == (2, 3, 32, 32)
    full = bundled.decode(latents, clamp=False)
    for features in (Features(64), Features(224), torch.flatten):  # no less than the prior's own, or none
        assert torch.equal(feature_decoder("resized", bundled, features)(latents), full)


def test_resized_decoder_equals_the_full_one_on_constant_latents(bundled) -> None:
    latents = torch.randn(2, 4, 1, 1).expand(2, *bundled.latent_shape)
    small = feature_decoder("resized", bundled, Features(32))(latents)
    full = bundled.decode(latents, clamp=False)
    torch.testing.assert_close(small.mean((2, 3)), full.mean((2, 3)), rtol=0.1, atol=0.05)


@needs_tiny_autoencoder
def test_tiny_autoencoder_decodes_from_its_folder(bundled, tmp_path: Path) -> None:
    from diffusers import AutoencoderTiny

    torch.manual_seed(0)
    blocks = {"num_encoder_blocks": (1, 1), "num_decoder_blocks": (1, 1)}
    widths = {"encoder_block_out_channels": (8, 8), "decoder_block_out_channels": (8, 8)}
    tiny = AutoencoderTiny(**widths, **blocks)
    tiny.save_pretrained(tmp_path)
    latents = torch.randn(2, *bundled.latent_shape, requires_grad=True)
    images = feature_decoder(str(tmp_path), bundled)(latents)
    torch.testing.assert_close(images, tiny.decode(latents).sample / 2 + 0.5)
    assert torch.autograd.grad(images.sum(), latents)[0].abs().sum() > 0


def test_pixel_priors_need_no_decoder() -> None:
    prior = load_prior("bundled-pixel")
    images = torch.randn(2, *prior.latent_shape)
    assert torch.equal(feature_decoder("linear", prior)(images), prior.decode(images, clamp=False))


def test_impossible_decoders_are_refused(bundled, tmp_path: Path) -> None:
    for kind in ("liner", str(tmp_path), "nobody/no-such-decoder"):
        with pytest.raises(UserError, match="accepted"):
            feature_decoder(kind, bundled)
