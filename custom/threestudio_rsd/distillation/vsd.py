"""Variational score distillation (ProlificDreamer; Wang et al., 2024; eqs. 34 and 35)."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UserError, in_range, one_of, require
from ..priors import Prior, PromptEmbedding
from ..priors.base import timesteps_of_rows
from .camera_embedding import CameraEmbedding
from .method import Method, Step

NETWORKS = ("lora", "unet")


class VSD(Method):
    """Variational score distillation: eps_w(x_t) - eps_phi(x_t), eq. (34).

    The network eps_phi is trained on the particles' own noised images by `loss`, eq. (35).

    Args:
        prior: see `Method`.
        guidance_scale: see `Method`.
        network: eps_phi: `lora`, adapters on the prior's network that are off in the prior's own predictions; or
            `unet`, a small unconditional U-Net trained from scratch (the paper's C.1).
        lora_rank: rank of the adapters.
        unet_channels: widths of the U-Net's levels, each halving the resolution; None: (128, 256, 256), or
            (32, 64) for particles of at most 16 pixels.
        camera_condition: whether eps_phi takes the cameras of the views, as in ProlificDreamer.
        guidance_scale_lora: weight of the camera in eps_phi's own prediction, as `guidance_scale` is the weight of the
            prompt; 1: the prediction with camera, unchanged.

    Raises:
        UserError: unknown network, rank < 1, a guidance_scale_lora without cameras, or peft is needed and missing.
    """

    only_guided = True
    unet: Any  # the U-Net trained from scratch, with network="unet"
    lora: Any  # the weights of the adapters, with network="lora"
    _layers: tuple[Any, ...]

    def __init__(
        self,
        prior: Prior,
        guidance_scale: float = 7.5,
        network: str = "lora",
        lora_rank: int = 4,
        unet_channels: tuple[int, ...] | None = None,
        camera_condition: bool = False,
        guidance_scale_lora: float = 1.0,
    ) -> None:
        super().__init__(prior, guidance_scale)
        one_of("vsd_network", network, NETWORKS)
        if guidance_scale_lora < 0 or (guidance_scale_lora != 1 and not camera_condition):
            raise UserError(
                f"guidance_scale_lora={guidance_scale_lora} is impossible; accepted: 1, or with a camera_condition a "
                "number of at least 0."
            )
        self.network = network
        self.guidance_scale_lora = guidance_scale_lora
        if network == "lora":
            in_range("lora_rank", lora_rank, 1)
            self._layers, self.lora = _add_lora(prior.network, prior.lora_targets, lora_rank)
        else:
            self.unet = _small_unet(prior.latent_shape, unet_channels).to(prior.device)
        self.camera = CameraEmbedding(self._own_unet) if camera_condition else None

    def direction(self, step: Step) -> Tensor:
        """See `Method.direction`."""
        with torch.no_grad():
            return step.predictions.guided(self.guidance_scale) - self._own_noise(step)

    def predict_noise(
        self, x_t: Tensor, t: int | Tensor, embedding: PromptEmbedding, cameras: Tensor | None = None
    ) -> Tensor:
        """Noise prediction eps_phi(x_t), differentiable in phi.

        Args:
            x_t: noisy particles, (N, ...).
            t: timestep, int or (N,).
            embedding: the prompt.
            cameras: flattened camera matrices, (N, 16), with `camera_condition`, else None; zeros stand for no camera.

        Returns:
            (N, ...)

        Raises:
            ValueError: cameras are missing, or given without `camera_condition`.
        """
        if (cameras is None) != (self.camera is None):
            expected = "needs cameras" if cameras is None else "takes no cameras"
            raise ValueError(f"eps_phi {expected}: camera_condition is {self.camera is not None}.")
        text = embedding.expand(len(x_t)).conditional
        with self._cameras_on(cameras):
            if self.network == "unet":
                noise: Tensor = self.unet(x_t, timesteps_of_rows(t, x_t)).sample
                return noise
            with self._adapters_on():
                return self.prior.raw_predict(x_t, t, text)

    def loss(
        self, x_0: Tensor, t: Tensor, noise: Tensor, embedding: PromptEmbedding, cameras: Tensor | None = None
    ) -> Tensor:
        """Denoising loss of eps_phi, eq. (35), a mean so that it does not grow with N.

        Args:
            x_0: particles (N, ...).
            t: timesteps (N,).
            noise: standard normal noise, like x_0.
            embedding: the prompt.
            cameras: see `predict_noise`.

        Returns:
            scalar
        """
        x_0 = x_0.detach()
        x_t = self.prior.alpha(t) * x_0 + self.prior.sigma(t) * noise
        return F.mse_loss(self.predict_noise(x_t, t, embedding, cameras), noise)

    @property
    def _own_unet(self) -> Any:
        return self.unet if self.network == "unet" else self.prior.network

    def _own_noise(self, step: Step) -> Tensor:
        """Prediction of eps_phi for a step, guided by the camera where there is one."""
        if step.cameras is None:
            return self.predict_noise(step.x_t, step.t, step.embedding)
        embedding, cameras = step.cameras.embedding, step.cameras.matrices
        with_camera = self.predict_noise(step.x_t, step.t, embedding, cameras)
        if self.guidance_scale_lora == 1:
            return with_camera
        without = self.predict_noise(step.x_t, step.t, embedding, torch.zeros_like(cameras))
        return without + self.guidance_scale_lora * (with_camera - without)

    def _cameras_on(self, cameras: Tensor | None) -> AbstractContextManager[None]:
        if self.camera is None or cameras is None:
            return nullcontext()
        return self.camera.added_to(self._own_unet, cameras)

    @contextmanager
    def _adapters_on(self) -> Iterator[None]:
        for layer in self._layers:
            layer.enable_adapters(True)
        trainable = [parameter.requires_grad_(True) for parameter in self.lora.values()]
        try:
            yield
        finally:
            for layer in self._layers:
                layer.enable_adapters(False)
            for parameter in trainable:  # peft freezes adapters that are switched off, but the optimizer trains them
                parameter.requires_grad_(True)


def _add_lora(network: Any, targets: tuple[str, ...], rank: int) -> tuple[tuple[Any, ...], nn.ParameterDict]:
    """Add LoRA adapters, switched off, to the attention layers of a network.

    Returns:
        The layers with adapters, and the adapters' weights.

    Raises:
        UserError: the network has adapters already, which would be switched off with ours.
    """
    peft = require("peft")
    from peft.tuners.tuners_utils import BaseTunerLayer

    if any(isinstance(module, BaseTunerLayer) for module in network.modules()):
        raise UserError(
            "vsd_network='lora' adds adapters to a network that has a LoRA already; fuse that first with diffusers "
            "(`pipeline.fuse_lora()`, `pipeline.unload_lora_weights()`), or take vsd_network='unet'."
        )
    config = peft.LoraConfig(r=rank, lora_alpha=rank, target_modules=list(targets))
    peft.inject_adapter_in_model(config, network)
    layers = tuple(module for module in network.modules() if isinstance(module, BaseTunerLayer))
    weights = {}
    for name, parameter in network.named_parameters():
        is_lora = "lora_" in name
        parameter.requires_grad_(is_lora)
        if is_lora:
            parameter.data = parameter.data.float()  # half precision cannot hold Adam's small steps
            weights[name.replace(".", "/")] = parameter
    for layer in layers:
        layer.enable_adapters(False)
    for parameter in weights.values():
        parameter.requires_grad_(True)
    return layers, nn.ParameterDict(weights)


def _small_unet(latent_shape: tuple[int, ...], channels: tuple[int, ...] | None) -> Any:
    from diffusers import UNet2DModel

    size = latent_shape[-1]
    channels = tuple(channels or ((32, 64) if size <= 16 else (128, 256, 256)))
    attention = [index == len(channels) - 1 for index in range(len(channels))]
    return UNet2DModel(
        sample_size=size,
        in_channels=latent_shape[0],
        out_channels=latent_shape[0],
        block_out_channels=channels,
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=8,
        down_block_types=tuple("AttnDownBlock2D" if here else "DownBlock2D" for here in attention),
        up_block_types=tuple("AttnUpBlock2D" if here else "UpBlock2D" for here in reversed(attention)),
    )
