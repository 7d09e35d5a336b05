"""DeepFloyd IF, stage I: a pixel-space model at 64x64."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from .diffusers_prior import DiffusersPrior, pipe_error, pipe_name
from .pipelines import find_pipeline
from .schedulers import check_noise_levels


class DeepFloydPrior(DiffusersPrior):
    """DeepFloyd IF, stage I; particles are images (3, 64, 64) in [-1, 1]. Arguments: see `DiffusersPrior`."""

    text_encoder_kind = "t5"

    @classmethod
    def from_pretrained(
        cls,
        model: str,
        revision: str | None = None,
        torch_dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        variant: str | None = None,
    ) -> "DeepFloydPrior":
        """Load a prior; arguments as in `load_prior`.

        Raises:
            UserError: the pipeline cannot be loaded.
        """
        pipeline = find_pipeline(model, revision, "deep-floyd", variant)
        scheduler = pipeline.load_scheduler()
        unet = pipeline.load("unet", "UNet2DConditionModel", torch_dtype)
        return cls(unet, scheduler, model, pipeline.source.commit or revision, variant).to(device)

    @classmethod
    def from_pipe(cls, pipe: Any) -> "DeepFloydPrior":
        """Prior of a pipeline object, which is used as it is.

        Raises:
            UserError: its scheduler or its U-Net does not fit.
        """
        check_noise_levels(pipe.scheduler, partial(pipe_error, pipe))
        prior = cls(pipe.unet, pipe.scheduler, pipe_name(pipe))
        prior.take_pipe(pipe)
        return prior

    def encode(self, images: Tensor) -> Tensor:
        """See `Prior.encode`."""
        return self.resize(images) * 2 - 1

    def decode(self, latents: Tensor, clamp: bool = True) -> Tensor:
        """See `Prior.decode`."""
        images = latents / 2 + 0.5
        return images.clamp(0, 1) if clamp else images
