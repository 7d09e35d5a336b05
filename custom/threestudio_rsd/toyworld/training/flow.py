"""Training of the flow-matching model: a small Stable Diffusion 3 on the autoencoder's latents (Esser et al., 2024)."""

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

from . import settings
from .caption_task import CaptionTask
from .data import Renders
from .latents import encode_renders
from .tokenizer import use_old_merges, write_clip_tokenizer
from .trainer import bf16_autocast, train

TEXT_WIDTH = 64  # size of the embeddings of each of the two text encoders
HEADS, HEAD_WIDTH, LAYERS, PATCH = 5, 32, 8, 2  # of the transformer
SHIFT = 3.0  # of the noise levels, as in Stable Diffusion 3
T5_TOKENS = (1, 256)  # tokens that stand for the missing T5 encoder: least, and the pipeline's default
LONG_SHARE = 0.15  # share of the steps with the larger number of them


class FlowDenoiser(nn.Module):
    """Transformer and the two CLIP text encoders of Stable Diffusion 3, trained together."""

    def __init__(self, transformer: nn.Module, text_encoder: nn.Module, text_encoder_2: nn.Module) -> None:
        super().__init__()
        self.transformer, self.text_encoder, self.text_encoder_2 = transformer, text_encoder, text_encoder_2

    def forward(self, noisy: Tensor, flow_time: Tensor, tokens: Tensor, t5_tokens: int) -> Tensor:
        """Predicted velocity, with the shape of `noisy` (N, C, H, W).

        Args:
            noisy: latents x_t.
            flow_time: t in [0, 1], (N,).
            tokens: tokens of the captions, (N, L).
            t5_tokens: number of zero embeddings in place of those of T5, as in the pipeline without it.
        """
        outputs = [encoder(tokens, output_hidden_states=True) for encoder in (self.text_encoder, self.text_encoder_2)]
        embeddings = torch.cat([output.hidden_states[-2] for output in outputs], dim=-1)
        embeddings = nn.functional.pad(embeddings, (0, 0, 0, t5_tokens))
        predicted: Tensor = self.transformer(
            hidden_states=noisy,
            timestep=1000 * flow_time,
            encoder_hidden_states=embeddings,
            pooled_projections=torch.cat([output.text_embeds for output in outputs], dim=-1),
        ).sample
        return predicted


class FlowTask(CaptionTask):
    """Predict the velocity noise - x in x_t = (1 - t) x + t noise (Lipman et al., 2023)."""

    def __init__(self, autoencoder: AutoencoderKL, renders: Renders, denoiser: FlowDenoiser, tokenizer: Any) -> None:
        super().__init__(renders, denoiser, tokenizer)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.latents = encode_renders(autoencoder.to(self.device), renders, self.device)

    def clean_samples(self, index: Tensor) -> Tensor:
        return self.latents.draw(index)

    def loss(self, batch_size: int) -> Tensor:
        index = torch.randint(len(self.attributes), (batch_size,))
        clean = self.clean_samples(index)
        noise = torch.randn_like(clean)
        # One time in each of N equal parts of [0, 1], for a gradient with less noise; then the sampler's shift.
        uniform = (torch.randperm(batch_size) + torch.rand(batch_size)) / batch_size
        flow_time = (SHIFT * uniform / (1 + (SHIFT - 1) * uniform)).to(clean.device)
        t = flow_time.view(-1, 1, 1, 1)
        t5_tokens = T5_TOKENS[int(torch.rand(()) < LONG_SHARE)]
        with bf16_autocast(clean.device):
            predicted = self.model(
                (1 - t) * clean + t * noise, flow_time, self.random_tokens(index).to(clean.device), t5_tokens
            )
        return (predicted.float() - (noise - clean)).pow(2).mean()


def _text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModelWithProjection:
    return CLIPTextModelWithProjection(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=4 * TEXT_WIDTH,
            projection_dim=TEXT_WIDTH,
            num_hidden_layers=3,  # the transformer gets the output of the second
            num_attention_heads=4,
            max_position_embeddings=tokenizer.model_max_length,
            hidden_act="quick_gelu",
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


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
        joint_attention_dim=2 * TEXT_WIDTH,
        pooled_projection_dim=2 * TEXT_WIDTH,
        pos_embed_max_size=16,
        qk_norm="rms_norm",
    )


def train_flow(renders: Renders, vae: Path, work: Path, output: Path) -> None:
    """Train transformer and text encoders on latents, on a GPU where there is one, and save the pipeline.

    Args:
        renders: training images.
        vae: folder of the trained autoencoder.
        work: folder of the checkpoints and the log.
        output: folder of the pipeline.
    """
    autoencoder = AutoencoderKL.from_pretrained(vae).float().eval()
    tokenizer = write_clip_tokenizer(output / "tokenizer")
    torch.manual_seed(settings.SEED)
    denoiser = FlowDenoiser(
        _transformer(autoencoder.config.latent_channels), _text_encoder(tokenizer), _text_encoder(tokenizer)
    )
    trained = train(FlowTask(autoencoder, renders, denoiser, tokenizer), settings.FLOW, work)
    autoencoder.register_to_config(shift_factor=0.0)  # the pipeline subtracts it
    pipeline = StableDiffusion3Pipeline(
        transformer=trained.transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=SHIFT),
        vae=autoencoder.cpu(),
        text_encoder=trained.text_encoder,
        tokenizer=tokenizer,
        text_encoder_2=trained.text_encoder_2,
        tokenizer_2=tokenizer,
        text_encoder_3=None,
        tokenizer_3=None,
    )
    pipeline.save_pretrained(output, safe_serialization=True)
    for name in ("tokenizer", "tokenizer_2"):
        use_old_merges(output / name)
