"""Training of the text-to-image model: a U-Net on latents, and its text encoder, by denoising."""

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from transformers import CLIPTextModel

from . import settings
from .caption_task import CaptionTask, random_times
from .data import Renders
from .latents import encode_renders
from .text_encoders import clip_config
from .tokenizer import use_old_merges, write_clip_tokenizer
from .trainer import bf16_autocast, train

WIDTH = 128  # size of the text embeddings
MAX_SNR = 5.0  # upper limit of the signal-to-noise ratio in the loss weights (Hang et al., 2023)


class Denoiser(nn.Module):
    """U-Net and text encoder, trained together."""

    def __init__(self, unet: nn.Module, text_encoder: nn.Module) -> None:
        super().__init__()
        self.unet, self.text_encoder = unet, text_encoder

    def forward(self, noisy: Tensor, timesteps: Tensor, tokens: Tensor) -> Tensor:
        """Predicted noise, with the shape of `noisy` (N, C, H, W); timesteps (N,), tokens (N, L)."""
        embeddings = self.text_encoder(tokens)[0]
        predicted: Tensor = self.unet(noisy, timesteps, embeddings).sample
        return predicted


class DenoisingTask(CaptionTask):
    """Predict the noise in noisy samples with random captions; subclasses provide the clean samples."""

    def __init__(self, renders: Renders, denoiser: Denoiser, tokenizer: Any, scheduler: Any) -> None:
        super().__init__(renders, denoiser, tokenizer)
        self.alphas_cumprod = scheduler.alphas_cumprod

    def loss(self, batch_size: int) -> Tensor:
        index = self.random_index(batch_size)
        clean = self.clean_samples(index)
        noise = torch.randn_like(clean)
        timesteps = (random_times(batch_size) * len(self.alphas_cumprod)).long()
        alpha = self.alphas_cumprod[timesteps].view(-1, 1, 1, 1)
        noisy = alpha.sqrt() * clean + (1 - alpha).sqrt() * noise
        with bf16_autocast():
            predicted = self.model(noisy, timesteps, self.random_tokens(index))
        error = (predicted.float()[:, : noise.shape[1]] - noise).pow(2).mean((1, 2, 3))
        snr = (alpha / (1 - alpha)).flatten()
        loss: Tensor = (snr.clamp(max=MAX_SNR) / snr * error).mean()
        return loss


class TextToImageTask(DenoisingTask):
    """Denoise latents, drawn from the autoencoder's posterior at each step."""

    def __init__(
        self, autoencoder: AutoencoderKL, renders: Renders, denoiser: Denoiser, tokenizer: Any, scheduler: Any
    ) -> None:
        super().__init__(renders, denoiser, tokenizer, scheduler)
        self.latents = encode_renders(autoencoder, renders)

    def clean_samples(self, index: Tensor) -> Tensor:
        return self.latents.draw(index)


def train_text_to_image(renders: Renders, work: Path, output: Path) -> None:
    """Train U-Net and text encoder on latents, and save the pipeline.

    Args:
        renders: training images.
        work: folder of the checkpoints and the log.
        output: folder of the pipeline, which holds the trained autoencoder in `vae`.
    """
    autoencoder = AutoencoderKL.from_pretrained(output / "vae").eval()
    tokenizer = write_clip_tokenizer(output / "tokenizer")
    # Stable Diffusion's, but noisier at its end (0.012 there): with alpha_T = 0.068 the network saw an image's mean
    # color in the last timestep, found none in pure noise, and made some colors seldom (entropy 2.69 bits, not 2.96).
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.02,
        beta_schedule="scaled_linear",
        timestep_spacing="trailing",  # sampling starts at the last timestep
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    torch.manual_seed(settings.SEED)
    unet = UNet2DConditionModel(
        sample_size=16,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(64, 128, 160),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    ).to(memory_format=torch.channels_last)
    unet.set_attn_processor(AttnProcessor())  # plain attention is faster than torch's fused one on 64 positions
    denoiser = Denoiser(unet, CLIPTextModel(clip_config(tokenizer, WIDTH)))
    task = TextToImageTask(autoencoder, renders, denoiser, tokenizer, scheduler)
    trained = train(task, settings.TEXT_TO_IMAGE, work)
    pipeline = StableDiffusionPipeline(
        vae=autoencoder,
        text_encoder=trained.text_encoder,
        tokenizer=tokenizer,
        unet=trained.unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(output, safe_serialization=True)
    use_old_merges(output / "tokenizer")
