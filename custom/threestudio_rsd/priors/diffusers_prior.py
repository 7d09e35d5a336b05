"""Base class of the priors made from diffusers pipelines."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import UserError
from .base import PromptEmbedding, TabulatedPrior, noise_from_output, timesteps_of_rows
from .pipelines import KEY, is_bundled
from .text import embed_prompts
from .unet_config import check_unet, sample_size, text_width


class DiffusersPrior(TabulatedPrior):
    """Prior with a U-Net of diffusers. Weights may be in half precision; inputs and outputs are in single precision.

    Args:
        unet: diffusers' UNet2DConditionModel; a learned variance in its output is dropped.
        scheduler: any diffusers scheduler with `alphas_cumprod`; gives the noise schedule and the prediction type.
        model: name, folder or hub id of the pipeline, from which `embed` loads the text encoder.
        revision: revision of the hub id, or its commit.
        variant: variant of the weights to prefer; see `choose_variant`.
        channels: channels of a particle.

    Raises:
        UserError: the U-Net needs inputs that priors do not give, or has no square sample size.
    """

    text_encoder_kind: str
    prediction_type: str
    text_pipe: Any = None  # pipeline object whose `encode_prompt` embeds prompts; None: the text encoder of `model`
    has_old_sizes = False  # whether sizes of old files are wrong; see `sample_size`

    def __init__(
        self,
        unet: Any,
        scheduler: Any,
        model: str,
        revision: str | None = None,
        variant: str | None = None,
        channels: int = 3,
    ) -> None:
        def error(problem: str) -> UserError:
            return UserError(f"{KEY}={model!r}: {problem}.")

        check_unet(unet.config, channels, error)
        size = sample_size(unet.config, error, self.has_old_sizes)
        super().__init__(scheduler.alphas_cumprod, (channels, size, size))
        self.unet = unet.requires_grad_(False).eval()
        self.prediction_type = scheduler.config.get("prediction_type", "epsilon")
        self.text_width = text_width(unet.config)
        self.image_size = size
        self.model = model
        self.revision = revision
        self.variant = variant
        self.is_bundled = is_bundled(model)
        self.fingerprint = f"{model}@{revision or 'main'} {self.unet.dtype}"

    @property
    def network(self) -> Any:  # type: ignore[override]
        """The U-Net."""
        return self.unet

    def embed(self, prompt: str, negative_prompt: str = "") -> PromptEmbedding:
        """See `Prior.embed`."""
        prompts = [prompt, "", negative_prompt]
        if self.text_pipe is None:
            texts = embed_prompts(prompts, self.model, self.text_encoder_kind, self.revision, variant=self.variant)
        else:
            texts = torch.cat([self._embed_by_pipe(text) for text in prompts])
        conditional, unconditional, negative = torch.split(texts.to(self.device), 1)
        return PromptEmbedding(conditional, unconditional, negative)

    @torch.no_grad()
    def _embed_by_pipe(self, prompt: str) -> Tensor:
        """Text embedding (1, L, D) by the pipeline object."""
        device = text_device(self.text_pipe)
        text: Tensor = self.text_pipe.encode_prompt(
            prompt, device=device, num_images_per_prompt=1, do_classifier_free_guidance=False
        )[0]
        return text.float()

    def take_pipe(self, pipe: Any) -> None:
        """Embed prompts with a pipeline object from now on.

        Raises:
            UserError: the pipeline is one of a diffusers before 0.21, which has no `encode_prompt`.
        """
        if not hasattr(pipe, "encode_prompt"):
            raise UserError(
                f"{type(pipe).__name__} has no encode_prompt; a pipeline object needs diffusers 0.21 or newer."
            )
        object.__setattr__(self, "text_pipe", pipe)  # not a submodule

    def raw_predict(self, x_t: Tensor, t: int | Tensor, text: Tensor) -> Tensor:
        """See `Prior.raw_predict`.

        Raises:
            UserError: the text embeddings are those of another model.
        """
        if self.text_width not in (None, text.shape[-1]):
            raise UserError(
                f"text embeddings of width {text.shape[-1]} do not fit {KEY}={self.model!r}, which takes "
                f"{self.text_width}; accepted: the same model in the prompt processor."
            )
        self.network_calls += len(x_t)
        dtype = self.unet.dtype
        timesteps = timesteps_of_rows(t, x_t)
        output = self.unet(x_t.to(dtype), timesteps, encoder_hidden_states=text.to(dtype)).sample.float()
        output = output[:, : x_t.shape[1]]
        assert self.prediction_type is not None
        return noise_from_output(output, x_t, self.alpha(t), self.sigma(t), self.prediction_type)

    def resize(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) resized to the prior's image size."""
        return resize_images(images, self.image_size)


def pipe_name(pipe: Any) -> str:
    """Folder or hub id of a pipeline object, or else its class."""
    return str(pipe.config.get("_name_or_path") or type(pipe).__name__)


def pipe_error(pipe: Any, problem: str) -> UserError:
    """Error that names a pipeline object."""
    return UserError(f"{KEY}={pipe_name(pipe)!r}: {problem}.")


def is_offloaded(pipe: Any) -> bool:
    """Whether accelerate moves the parts of a pipeline object (CPU offload, device_map)."""
    parts = [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
    return getattr(pipe, "hf_device_map", None) is not None or any(hasattr(part, "_hf_hook") for part in parts)


def text_device(pipe: Any) -> torch.device:
    """Device on which a pipeline object runs its text encoders."""
    if not is_offloaded(pipe):
        for name, part in pipe.components.items():
            if name.startswith("text_encoder") and isinstance(part, torch.nn.Module):
                return next(part.parameters()).device
    device: torch.device = pipe._execution_device
    return device


def resize_images(images: Tensor, size: int) -> Tensor:
    """Images (N, C, H, W) resized to a square with sides of `size` pixels."""
    if images.shape[-2:] == torch.Size((size, size)):
        return images
    return F.interpolate(images, (size, size), mode="bilinear", align_corners=False, antialias=True)
