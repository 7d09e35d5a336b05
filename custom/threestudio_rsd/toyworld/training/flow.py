"""Training of the flow-matching model: a small Stable Diffusion 3 on the autoencoder's latents (Esser et al., 2024)."""

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from torch import Tensor, nn
from transformers import CLIPTextModelWithProjection, CLIPTokenizer

from ...priors.families.stable_diffusion_3 import T5_LENGTH as PIPELINE_LENGTH
from . import settings
from .caption_task import CaptionTask, padded_tokens, random_times
from .data import Renders
from .latents import encode_renders
from .text_encoders import clip_config, t5_encoder
from .tokenizer import CLIP_LENGTH, write_clip_tokenizer, write_t5_tokenizer
from .trainer import bf16_autocast, train
from .velocity_teacher import VelocityTeacher

CLIP_WIDTH = 64  # size of the embeddings of each of the two CLIP text encoders
T5_WIDTH = 2 * CLIP_WIDTH  # size of the embeddings of the T5 encoder
HEADS, HEAD_WIDTH, LAYERS, PATCH = 4, 32, 8, 2  # of the transformer
SHIFT = 3.0  # of the noise levels, as in Stable Diffusion 3
T5_LENGTH = 16  # tokens, enough for every caption
LONG_SHARE = 0.15  # share of the steps with as many as the pipeline pads to, so that both lengths give good images


class FlowDenoiser(nn.Module):
    """Transformer and the three text encoders of Stable Diffusion 3, trained together."""

    def __init__(
        self, transformer: nn.Module, text_encoder: nn.Module, text_encoder_2: nn.Module, text_encoder_3: nn.Module
    ) -> None:
        super().__init__()
        self.transformer = transformer
        self.text_encoder, self.text_encoder_2, self.text_encoder_3 = text_encoder, text_encoder_2, text_encoder_3

    def forward(self, noisy: Tensor, flow_time: Tensor, tokens: Tensor) -> Tensor:
        """Predicted velocity, with the shape of `noisy` (N, C, H, W).

        Args:
            noisy: latents x_t.
            flow_time: t in [0, 1], (N,).
            tokens: tokens of the captions for CLIP and T5, side by side, (N, L).
        """
        clip_tokens, t5_tokens = tokens[:, :CLIP_LENGTH], tokens[:, CLIP_LENGTH:]
        outputs = [
            encoder(clip_tokens, output_hidden_states=True) for encoder in (self.text_encoder, self.text_encoder_2)
        ]
        embeddings = [
            torch.cat([output.hidden_states[-2] for output in outputs], dim=-1),
            self.text_encoder_3(t5_tokens)[0],
        ]
        predicted: Tensor = self.transformer(
            hidden_states=noisy,
            timestep=1000 * flow_time,
            encoder_hidden_states=torch.cat(embeddings, dim=1),
            pooled_projections=torch.cat([output.text_embeds for output in outputs], dim=-1),
        ).sample
        return predicted


class FlowTask(CaptionTask):
    """Predict the velocity noise - x in x_t = (1 - t) x + t noise (Lipman et al., 2023).

    The target is the velocity that the text-to-image model expects, which the squared error would average to, with far
    less noise than that of one sample. Where the flow is noisier than that model's last timestep, or less noisy than
    its first, it is the sample's own.
    """

    def __init__(
        self,
        autoencoder: AutoencoderKL,
        renders: Renders,
        denoiser: FlowDenoiser,
        clip_tokenizer: CLIPTokenizer,
        t5_tokenizer: Any,
        teacher: Path,
    ) -> None:
        super().__init__(renders, denoiser, clip_tokenizer)
        self.t5_tokenizer = t5_tokenizer
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.latents = encode_renders(autoencoder.to(self.device), renders, self.device)
        self.teacher = VelocityTeacher(teacher, self.device)

    def clean_samples(self, index: Tensor) -> Tensor:
        return self.latents.draw(index)

    def loss(self, batch_size: int) -> Tensor:
        index = self.random_index(batch_size)
        clean = self.clean_samples(index)
        noise = torch.randn_like(clean)
        uniform = random_times(batch_size)
        flow_time = (SHIFT * uniform / (1 + (SHIFT - 1) * uniform)).to(clean.device)  # the shift of the sampler
        timesteps, is_taught = self.teacher.nearest(flow_time)
        flow_time = torch.where(is_taught, self.teacher.flow_times[timesteps], flow_time)
        t = flow_time.view(-1, 1, 1, 1)
        noisy = (1 - t) * clean + t * noise
        tokens = self.random_tokens(index)
        taught = self.teacher.velocity(noisy, timesteps, tokens[:, :CLIP_LENGTH].to(clean.device))
        if torch.rand(()) < LONG_SHARE:
            tokens = nn.functional.pad(tokens, (0, PIPELINE_LENGTH - T5_LENGTH), value=self.t5_tokenizer.pad_token_id)
        with bf16_autocast(clean.device):
            predicted = self.model(noisy, flow_time, tokens.to(clean.device))
        error: Tensor = predicted.float() - torch.where(is_taught.view(-1, 1, 1, 1), taught, noise - clean)
        return error.pow(2).mean()

    def tokens(self, text: str) -> Tensor:
        """Tokens (L,) of one caption for CLIP and T5, side by side."""
        return torch.cat([padded_tokens(tokenizer, text) for tokenizer in (self.tokenizer, self.t5_tokenizer)])


def _transformer(channels: int) -> SD3Transformer2DModel:
    return SD3Transformer2DModel(
        sample_size=16,
        patch_size=PATCH,
        in_channels=channels,
        out_channels=channels,
        num_layers=LAYERS,
        attention_head_dim=HEAD_WIDTH,
        num_attention_heads=HEADS,
        caption_projection_dim=HEADS * HEAD_WIDTH,
        joint_attention_dim=T5_WIDTH,
        pooled_projection_dim=2 * CLIP_WIDTH,
        pos_embed_max_size=16,
        qk_norm="rms_norm",
    )


def train_flow(renders: Renders, text_to_image: Path, work: Path, output: Path) -> None:
    """Train transformer and text encoders on latents, on a GPU where there is one, and save the pipeline.

    Args:
        renders: training images.
        text_to_image: folder of the trained text-to-image model, whose autoencoder is used.
        work: folder of the checkpoints and the log.
        output: folder of the pipeline.
    """
    autoencoder = AutoencoderKL.from_pretrained(text_to_image / "vae").float().eval()
    clip_tokenizer = write_clip_tokenizer(output / "tokenizer")
    t5_tokenizer = write_t5_tokenizer(output / "tokenizer_3", T5_LENGTH)
    torch.manual_seed(settings.SEED)
    denoiser = FlowDenoiser(
        _transformer(autoencoder.config.latent_channels),
        CLIPTextModelWithProjection(clip_config(clip_tokenizer, CLIP_WIDTH)),
        CLIPTextModelWithProjection(clip_config(clip_tokenizer, CLIP_WIDTH)),
        t5_encoder(t5_tokenizer, T5_WIDTH),
    )
    task = FlowTask(autoencoder, renders, denoiser, clip_tokenizer, t5_tokenizer, text_to_image)
    trained = train(task, settings.FLOW, work)
    autoencoder.register_to_config(shift_factor=0.0)  # the pipeline subtracts it
    pipeline = StableDiffusion3Pipeline(
        transformer=trained.transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=SHIFT),
        vae=autoencoder.cpu(),
        text_encoder=trained.text_encoder,
        tokenizer=clip_tokenizer,
        text_encoder_2=trained.text_encoder_2,
        tokenizer_2=clip_tokenizer,
        text_encoder_3=trained.text_encoder_3,
        tokenizer_3=t5_tokenizer,
    )
    pipeline.save_pretrained(output, safe_serialization=True)
    write_t5_tokenizer(output / "tokenizer_3", T5_LENGTH)  # again: saving the pipeline leaves out some files
    for name in ("tokenizer", "tokenizer_2"):
        write_clip_tokenizer(output / name)
