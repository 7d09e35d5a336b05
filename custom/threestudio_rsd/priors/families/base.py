"""Base classes of the priors made from pipelines of diffusers, by `load_prior` from files or from a pipeline object."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ...errors import UserError, in_range
from ..base import LORA_TARGETS, Prior, PromptEmbedding, TabulatedPrior, noise_from_output, timesteps_of_rows
from ..diffusers_prior import is_offloaded, pipe_name, resize_images, text_device
from ..flow import FlowPrior
from ..pipelines import KEY, find_pipeline, is_bundled
from ..schedulers import check_flow_matching, check_noise_levels, dynamic_shift, flow_times
from ..text import embed_prompts
from ..text.family_encoder import encode_one
from .packing import stack_padded

TRANSFORMER_LORA_TARGETS: tuple[str, ...] = (*LORA_TARGETS, "add_q_proj", "to_add_out")


@dataclass
class Parts:
    """What a prior is made of.

    Attributes:
        network: the noise network, a transformer or U-Net of diffusers.
        vae: autoencoder of diffusers.
        scheduler: scheduler of diffusers.
        name: the model, for messages and logs.
        embed: maps a prompt and whether it is a negative one to its packed text embedding, (L, D).
        settings: config of the pipeline.
        device: where the networks compute; None: where their weights are.
    """

    network: Any
    vae: Any
    scheduler: Any
    name: str
    embed: Callable[[list[str], list[str]], Tensor]
    settings: Mapping[str, Any] = field(default_factory=dict)
    device: torch.device | None = None

    def error(self, problem: str) -> UserError:
        """Error that names the model."""
        return UserError(f"{KEY}={self.name!r}: {problem}.")


class FamilyPrior(Prior):
    """Prior from a pipeline of diffusers; particles are scaled latents, unpacked, (C, h, w).

    A subclass names its classes, makes text embeddings (`encode_text`) and calls its network; where its latents are not
    (z - shift_factor) * scaling_factor of an AutoencoderKL, it says how they are scaled.
    """

    prior_type: str  # set by `register_prior`
    network_part = "transformer"  # part of the pipeline
    network_class: str  # its class in diffusers
    vae_class = "AutoencoderKL"
    half_dtype = torch.bfloat16  # half precision in which the weights do not overflow
    is_latent = True
    latent_pixels = 1  # pixels of the autoencoder's latents along a side of a particle's pixel
    default_sample_size = 128  # side of the autoencoder's latents where the network's config has none
    lora_targets: tuple[str, ...] = TRANSFORMER_LORA_TARGETS
    vae: Any
    _embed: Any

    @classmethod
    def encode_text(cls, pipe: Any, prompt: str, is_negative: bool, device: torch.device) -> Tensor:
        """Packed text embedding of a prompt by the pipeline's own `encode_prompt`, (L, D); see `packing`.

        Args:
            pipe: the pipeline; its noise network may have no weights, and it may have no autoencoder.
            prompt: the prompt.
            is_negative: whether it is a negative prompt.
            device: where the text encoders are.
        """
        raise NotImplementedError

    @classmethod
    def from_pretrained(
        cls,
        model: str,
        revision: str | None = None,
        torch_dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        variant: str | None = None,
        image_size: int | None = None,
    ) -> "FamilyPrior":
        """Load a prior; arguments as in `load_prior`.

        Raises:
            UserError: the pipeline cannot be loaded.
        """
        pipeline = find_pipeline(model, revision, cls.prior_type, variant)
        scheduler = pipeline.load_scheduler(is_flow=issubclass(cls, FlowPrior))
        network = pipeline.load(cls.network_part, cls.network_class, torch_dtype)
        overflows = torch_dtype == torch.float16 and pipeline.source.read_json("vae/config.json").get("force_upcast")
        vae = pipeline.load("vae", cls.vae_class, torch.float32 if overflows else torch_dtype)
        commit = pipeline.source.commit or revision

        def embed(prompts: list[str], negatives: list[str]) -> Tensor:
            return embed_prompts(prompts, model, cls.prior_type, commit, torch_dtype, True, variant, None, negatives)

        parts = Parts(network, vae, scheduler, f"{model}@{commit or 'main'}", embed, pipeline.index)
        prior = cls(parts, image_size)
        prior.is_bundled = is_bundled(model)
        return prior.to(device)

    @classmethod
    def from_pipe(cls, pipe: Any, image_size: int | None = None) -> "FamilyPrior":
        """Prior of a pipeline object, which is used as it is; arguments as in `load_prior`.

        Raises:
            UserError: its scheduler does not fit.
        """
        known: dict[tuple[str, bool], Tensor] = {}

        def embed(prompts: list[str], negatives: list[str]) -> Tensor:
            for key in [(prompt, prompt in negatives) for prompt in prompts]:
                if key not in known:
                    with torch.no_grad():
                        known[key] = encode_one(cls, pipe, *key, text_device(pipe)).float().cpu()
            return stack_padded([known[prompt, prompt in negatives] for prompt in prompts])

        name, device = pipe_name(pipe), pipe._execution_device if is_offloaded(pipe) else None
        network = getattr(pipe, cls.network_part)
        return cls(Parts(network, pipe.vae, pipe.scheduler, name, embed, pipe.config, device), image_size)

    def _take(self, parts: Parts, image_size: int) -> None:
        """Take the parts of the prior over."""
        self.network = parts.network.requires_grad_(False).eval()
        self.vae = parts.vae.requires_grad_(False).eval()
        self.image_size = image_size
        self.fingerprint = f"{parts.name} {self.network.dtype}"
        self._device = parts.device
        object.__setattr__(self, "_embed", parts.embed)
        if parts.device is not None:
            for buffer_name, buffer in list(self.named_buffers(recurse=False)):
                setattr(self, buffer_name, buffer.to(parts.device))

    @property
    def device(self) -> torch.device:
        """Device on which the networks compute; that of the pipeline object where its weights are offloaded."""
        return super().device if self._device is None else self._device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the network."""
        dtype: torch.dtype = self.network.dtype
        return dtype

    def embed(self, prompt: str, negative_prompt: str = "") -> PromptEmbedding:
        """See `Prior.embed`."""
        negatives = ["", negative_prompt] if prompt else []
        texts = self._embed([prompt, "", negative_prompt], [text for text in negatives if text != prompt])
        conditional, unconditional, negative = torch.split(texts.to(self.device), 1)
        return PromptEmbedding(conditional, unconditional, negative)

    def check_text(self, text: Tensor, width: int) -> None:
        """Check that packed text embeddings (N, L, D) are for this network.

        Raises:
            UserError: D is not `width`.
        """
        if text.shape[-1] != width:
            raise UserError(
                f"text embeddings of width {text.shape[-1]} do not fit {KEY}={self.fingerprint!r}, which takes "
                f"{width}; accepted: the same model and prior_type in the prompt processor."
            )

    def encode(self, images: Tensor) -> Tensor:
        """See `Prior.encode`; the mean of the VAE's posterior, which is deterministic."""
        pixels = (resize_images(images, self.image_size) * 2 - 1).to(self.vae.dtype)
        return self.scale_latents(self.vae_encode(pixels).float())

    def decode(self, latents: Tensor, clamp: bool = True) -> Tensor:
        """See `Prior.decode`."""
        images = self.vae_decode(self.unscale_latents(latents).to(self.vae.dtype)).float() / 2 + 0.5
        return images.clamp(0, 1) if clamp else images

    def vae_encode(self, pixels: Tensor) -> Tensor:
        """Latents of the autoencoder for pixels (N, 3, H, W) in [-1, 1]."""
        latents: Tensor = self.vae.encode(pixels).latent_dist.mean
        return latents

    def vae_decode(self, latents: Tensor) -> Tensor:
        """Pixels (N, 3, H, W) in [-1, 1] for latents of the autoencoder."""
        pixels: Tensor = self.vae.decode(latents).sample
        return pixels

    def scale_latents(self, latents: Tensor) -> Tensor:
        """Particles for latents of the autoencoder, in single precision."""
        config = self.vae.config
        particles: Tensor = (latents - (config.get("shift_factor") or 0.0)) * config.scaling_factor
        return particles

    def unscale_latents(self, particles: Tensor) -> Tensor:
        """Inverse of `scale_latents`."""
        config = self.vae.config
        latents: Tensor = particles / config.scaling_factor + (config.get("shift_factor") or 0.0)
        return latents

    @classmethod
    def vae_pixels(cls, vae: Any) -> int:
        """Pixels of an image along a side of a pixel of the autoencoder's latents."""
        return int(2 ** (len(vae.config.block_out_channels) - 1))

    @classmethod
    def channels(cls, config: Any) -> int:
        """Channels of a particle, by the network's config."""
        return int(config.in_channels)

    @classmethod
    def patch_size(cls, config: Any) -> int:
        """Pixels of a particle along a side of one of the network's tokens."""
        return int(config.get("patch_size") or 1)

    @classmethod
    def geometry(cls, parts: Parts, image_size: int | None) -> tuple[tuple[int, int, int], int]:
        """Shape of a particle, and side of an image.

        Raises:
            UserError: the side is not a multiple of that of a token.
        """
        config = parts.network.config
        pixels = cls.vae_pixels(parts.vae) * cls.latent_pixels
        token = pixels * cls.patch_size(config)
        if image_size is None:
            size = config.get("sample_size") or cls.default_sample_size
            image_size = int(size) * pixels // cls.latent_pixels
        in_range("image_size", image_size, 1)
        if image_size % token:
            fitting = max(round(image_size / token), 1) * token
            raise parts.error(
                f"image_size={image_size} does not fit; accepted: a multiple of {token}, such as {fitting}"
            )
        side = image_size // pixels
        return (cls.channels(config), side, side), image_size


class FlowFamilyPrior(FamilyPrior, FlowPrior):
    """Flow-matching prior from a pipeline of diffusers; a subclass defines `velocity`.

    Args:
        parts: network, autoencoder, scheduler and text embeddings.
        image_size: side of the images in pixels; None: that of the model.

    Raises:
        UserError: a scheduler without flow matching, or an image size that does not fit.
    """

    def __init__(self, parts: Parts, image_size: int | None = None) -> None:
        check_flow_matching(parts.scheduler, parts.error)
        shape, size = self.geometry(parts, image_size)
        self.mu = self.log_shift(parts.scheduler.config, (shape[1] // self.patch_size(parts.network.config)) ** 2)
        FlowPrior.__init__(self, flow_times(parts.scheduler, self.mu), shape)
        self._take(parts, size)

    @classmethod
    def log_shift(cls, config: Any, tokens: int) -> float:
        """Logarithm mu of a shift that depends on the number of image tokens."""
        return dynamic_shift(config, tokens)

    def raw_velocity(self, x_t: Tensor, t: int | Tensor, text: Tensor) -> Tensor:
        """See `FlowPrior.raw_velocity`; inputs in the network's precision."""
        return super().raw_velocity(x_t.to(self.dtype), t, text.to(self.dtype))


class TabulatedFamilyPrior(FamilyPrior, TabulatedPrior):
    """Prior with a table of noise levels from a pipeline of diffusers; a subclass defines `output`.

    Args:
        parts: network, autoencoder, scheduler and text embeddings.
        image_size: side of the images in pixels; None: that of the model.

    Raises:
        UserError: a scheduler without a table of noise levels, or an image size that does not fit.
    """

    prediction_type: str

    def __init__(self, parts: Parts, image_size: int | None = None) -> None:
        check_noise_levels(parts.scheduler, parts.error)
        shape, size = self.geometry(parts, image_size)
        TabulatedPrior.__init__(self, parts.scheduler.alphas_cumprod, shape)
        self.prediction_type = parts.scheduler.config.get("prediction_type", "epsilon")
        self._take(parts, size)

    def output(self, x_t: Tensor, t: Tensor, text: Tensor) -> Tensor:
        """The network's output, (N, ...), for timesteps t (N,); a learned variance in further channels is dropped."""
        raise NotImplementedError

    def raw_predict(self, x_t: Tensor, t: int | Tensor, text: Tensor) -> Tensor:
        """See `Prior.raw_predict`."""
        self.network_calls += len(x_t)
        timesteps = timesteps_of_rows(t, x_t)
        output = self.output(x_t.to(self.dtype), timesteps, text.to(self.dtype)).float()[:, : x_t.shape[1]]
        return noise_from_output(output, x_t, self.alpha(t), self.sigma(t), self.prediction_type)
