"""Training of the pixel-space model: a U-Net on images, in the format of DeepFloyd IF's first stage."""

from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler, IFPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from transformers import T5EncoderModel

from . import settings
from .data import Renders
from .text_encoders import t5_encoder
from .text_to_image import Denoiser, DenoisingTask
from .tokenizer import write_t5_tokenizer
from .trainer import train

WIDTH = 128  # size of the text embeddings


class T5Encoder(nn.Module):
    """T5 encoder with an attention mask over the padding, as in DeepFloyd IF."""

    def __init__(self, encoder: T5EncoderModel) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        mask = (tokens != self.encoder.config.pad_token_id).long()
        return self.encoder(tokens, attention_mask=mask)[0], mask


class PixelTask(DenoisingTask):
    """Denoise images in [-1, 1]."""

    def __init__(self, renders: Renders, denoiser: Denoiser, tokenizer: Any, scheduler: Any) -> None:
        super().__init__(renders, denoiser, tokenizer, scheduler)
        self.renders = renders

    def clean_samples(self, index: Tensor) -> Tensor:
        images = self.renders.batch(index) * 2 - 1
        return images.to(memory_format=torch.channels_last)


def _unet() -> UNet2DConditionModel:
    unet = UNet2DConditionModel(
        sample_size=64,
        in_channels=3,
        out_channels=6,  # noise and variance, as in DeepFloyd IF; the scheduler uses its own variance
        down_block_types=("DownBlock2D", "DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D", "UpBlock2D"),
        block_out_channels=(32, 32, 64, 160),
        layers_per_block=(0, 1, 1, 1),  # full resolution is the most expensive and gains least
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )
    with torch.no_grad():
        for parameter in (unet.conv_out.weight, unet.conv_out.bias):
            parameter[3:] = 0
    unet.set_attn_processor(AttnProcessor())
    return unet.to(memory_format=torch.channels_last)


def train_pixel(renders: Renders, work: Path, output: Path) -> None:
    """Train U-Net and text encoder on images, and save the pipeline.

    Args:
        renders: training images.
        work: folder of the checkpoints and the log.
        output: folder of the pipeline.
    """
    tokenizer = write_t5_tokenizer(output / "tokenizer")
    scheduler = DDPMScheduler(beta_schedule="squaredcos_cap_v2", variance_type="fixed_small")
    torch.manual_seed(settings.SEED)
    denoiser = Denoiser(_unet(), T5Encoder(t5_encoder(tokenizer, WIDTH)))
    trained = train(PixelTask(renders, denoiser, tokenizer, scheduler), settings.PIXEL, work)
    pipeline = IFPipeline(
        tokenizer=tokenizer,
        text_encoder=trained.text_encoder.encoder,
        unet=trained.unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        watermarker=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(output, safe_serialization=True)
    write_t5_tokenizer(
        output / "tokenizer"
    )  # again: saving the pipeline leaves out the files that old transformers read
