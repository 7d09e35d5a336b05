"""Published models as networks with random weights: the cost of a step does not depend on the values of the weights."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from ..distillation import LinearDecoder
from ..errors import one_of
from ..priors import Prior, PromptEmbedding
from ..priors.deep_floyd import DeepFloydPrior
from ..priors.stable_diffusion import StableDiffusionPrior
from ..repulsion.features import IMAGENET, TransformerFeatures

# Configs of the published U-Nets and autoencoders. `tiny` is for tests.
SD_UNET: dict[str, Any] = {"sample_size": 64}
SD_VAE: dict[str, Any] = {
    "sample_size": 512,
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
}
MODEL_SIZES: dict[str, dict[str, Any]] = {
    "sd21": {  # stable-diffusion-2-1-base
        "text": (77, 1024),
        "unet": {
            **SD_UNET,
            "cross_attention_dim": 1024,
            "attention_head_dim": (5, 10, 20, 20),
            "use_linear_projection": True,
        },
        "vae": SD_VAE,
        "vit": 384,
    },
    "sd15": {  # stable-diffusion-v1-5
        "text": (77, 768),
        "unet": {**SD_UNET, "cross_attention_dim": 768, "attention_head_dim": 8},
        "vae": SD_VAE,
        "vit": 384,
    },
    "if": {  # DeepFloyd IF-I-XL
        "text": (77, 4096),
        "unet": {
            "sample_size": 64,
            "in_channels": 3,
            "out_channels": 6,
            "block_out_channels": (704, 1408, 2112, 2816),
            "layers_per_block": 3,
            "down_block_types": ("ResnetDownsampleBlock2D", *["SimpleCrossAttnDownBlock2D"] * 3),
            "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
            "up_block_types": (*["SimpleCrossAttnUpBlock2D"] * 3, "ResnetUpsampleBlock2D"),
            "cross_attention_dim": 2816,
            "encoder_hid_dim": 4096,
            "attention_head_dim": 64,
            "cross_attention_norm": "group_norm",
            "resnet_time_scale_shift": "scale_shift",
            "act_fn": "gelu",
        },
        "vit": 384,
    },
    "tiny": {
        "text": (8, 16),
        "unet": {
            "sample_size": 8,
            "block_out_channels": (8, 16),
            "layers_per_block": 1,
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
            "cross_attention_dim": 16,
            "attention_head_dim": 2,
            "norm_num_groups": 4,
        },
        "vae": {
            "sample_size": 16,
            "block_out_channels": (8, 8),
            "down_block_types": ("DownEncoderBlock2D",) * 2,
            "up_block_types": ("UpDecoderBlock2D",) * 2,
            "norm_num_groups": 4,
        },
        "vit": 24,
    },
}


def random_prior(name: str, device: torch.device | str = "meta", torch_dtype: torch.dtype = torch.float32) -> Prior:
    """Prior of a published model's size with random weights, built on the device; `embed` gives zeros.

    Args:
        name: `sd21`, `sd15` (Stable Diffusion), `if` (DeepFloyd IF-I-XL) or `tiny` (Stable Diffusion, for tests).
        device: device of the weights; `meta`: shapes without values.
        torch_dtype: precision of the weights.

    Raises:
        UserError: an unknown name.
    """
    from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel

    one_of("model", name, tuple(MODEL_SIZES))
    size = MODEL_SIZES[name]
    with torch.device("meta"):
        unet = UNet2DConditionModel(**size["unet"])
        vae = AutoencoderKL(**{"latent_channels": 4, **size["vae"]}) if "vae" in size else None
    unet = _fill(unet, device, torch_dtype)
    scheduler = DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    prior: Prior
    if vae is None:
        prior = DeepFloydPrior(unet, scheduler, name)
    else:
        prior = StableDiffusionPrior(unet, _fill(vae, device, torch_dtype), scheduler, name)
    text = torch.zeros(1, *size["text"], device=device)
    object.__setattr__(prior, "embed", lambda prompt, negative_prompt="": PromptEmbedding(text, text, text))
    return prior.to(device)


def random_features(
    name: str, device: torch.device | str = "meta", torch_dtype: torch.dtype = torch.float32
) -> TransformerFeatures:
    """Feature network of the size of DINO ViT-S/16, or a tiny one for `tiny`, with random weights.

    Args:
        name: see `random_prior`.
        device: device of the weights.
        torch_dtype: precision of the weights.
    """
    from transformers import ViTConfig, ViTModel

    one_of("model", name, tuple(MODEL_SIZES))
    width = MODEL_SIZES[name]["vit"]
    size: dict[str, Any] = {"hidden_size": width, "intermediate_size": 4 * width}
    if name == "tiny":
        size |= {"num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 16, "patch_size": 8}
    else:
        size |= {"num_hidden_layers": 12, "num_attention_heads": width // 64, "image_size": 224, "patch_size": 16}
    with torch.device("meta"):
        network = ViTModel(ViTConfig(**size), add_pooling_layer=False)
    features = TransformerFeatures(_fill(network, device, torch_dtype), *IMAGENET)
    return features.to(device, torch_dtype)


def random_tiny_decoder(name: str, device: torch.device | str = "meta") -> Any:
    """Decoder of diffusers' AutoencoderTiny in its published size, with random weights.

    Args:
        name: see `random_prior`.
        device: device of the weights.
    """
    from diffusers import AutoencoderTiny

    options: dict[str, Any] = {}
    if name == "tiny":
        channels = {"encoder_block_out_channels": (8, 8), "decoder_block_out_channels": (8, 8)}
        options = {**channels, "num_encoder_blocks": (1, 1), "num_decoder_blocks": (1, 1)}
    with torch.device("meta"):
        network = AutoencoderTiny(**options).decoder
    return _fill(network, device, torch.float32).requires_grad_(False)


def random_linear_decoder(device: torch.device | str = "meta") -> LinearDecoder:
    """Linear decoder of latents with 4 channels, with random weights."""
    return LinearDecoder(torch.randn(3, 4, 3, 3, device=device) / 6, torch.zeros(3, device=device))


@torch.no_grad()
def _fill(network: nn.Module, device: torch.device | str, torch_dtype: torch.dtype) -> Any:
    """Give a network from the meta device weights that keep activations of order one."""
    network = nn.Module.to(network, torch_dtype).to_empty(device=device)  # diffusers' own `to` warns about a cast
    for name, parameter in network.named_parameters():
        if parameter.ndim > 1:
            parameter.normal_(0, 1 / math.sqrt(_fan_in(parameter)))
        else:
            parameter.fill_(1.0 if name.endswith("weight") else 0.0)
    return network


def _fan_in(parameter: Tensor) -> int:
    return max(1, parameter[0].numel())
