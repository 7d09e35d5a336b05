"""Backgrounds: the color of a ray behind the object."""

import random
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ...errors import UserError, in_range
from ..utils.base import BaseModule
from ..utils.registry import register
from .networks import get_encoding, get_mlp
from .networks.activations import get_activation


class BaseBackground(BaseModule):
    """Base class of backgrounds, whose color can be replaced by a random one in training."""

    @dataclass
    class Config(BaseModule.Config):
        n_output_dims: int = 3  # color channels; threestudio
        random_aug: bool = False  # replace the color in training by a random one for each view; threestudio
        random_aug_prob: float = 0.5  # probability of the replacement, drawn once per step; threestudio

    cfg: Config

    def forward(self, dirs: Tensor) -> Tensor:
        """Colors of rays.

        Args:
            dirs: unit directions, (B, H, W, 3).

        Returns:
            (B, H, W, n_output_dims)
        """
        color = self.color(dirs)
        if self.training and self.cfg.random_aug and random.random() < self.cfg.random_aug_prob:
            one_a_view = torch.rand(len(dirs), *[1] * (dirs.dim() - 2), self.cfg.n_output_dims).to(dirs)
            # 0 * color: distributed training needs a gradient, even 0, for every parameter.
            return 0 * color + one_a_view
        return color

    def color(self, dirs: Tensor) -> Tensor:
        """For subclasses: colors without augmentation; arguments and result are those of `forward`."""
        raise NotImplementedError


@register("solid-color-background")
class SolidColorBackground(BaseBackground):
    """One color for all directions.

    Raises:
        UserError: the number of channels of the color differs from that of the output.
    """

    @dataclass
    class Config(BaseBackground.Config):
        color: tuple = (1.0, 1.0, 1.0)  # value of each channel, or one for all, in [0, 1]; threestudio
        learned: bool = False  # train the color; threestudio

    cfg: Config
    env_color: Tensor

    def configure(self) -> None:
        in_range("background.n_output_dims", self.cfg.n_output_dims, 1)
        try:
            color = torch.tensor(list(self.cfg.color), dtype=torch.float32)
        except (TypeError, ValueError) as error:
            raise UserError(
                f"background.color={list(self.cfg.color)} is impossible; accepted: numbers from 0 to 1."
            ) from error
        if len(color) not in (1, self.cfg.n_output_dims):
            raise UserError(
                f"background.color={list(self.cfg.color)} has {len(color)} channels; "
                f"accepted: 1 or n_output_dims={self.cfg.n_output_dims}."
            )
        if self.cfg.learned:
            self.env_color = nn.Parameter(color)
        else:
            self.register_buffer("env_color", color)

    def color(self, dirs: Tensor) -> Tensor:
        return self.env_color.to(dirs).expand(*dirs.shape[:-1], self.cfg.n_output_dims)


@register("neural-environment-map-background")
class NeuralEnvironmentMapBackground(BaseBackground):
    """Color of each direction by a small network."""

    @dataclass
    class Config(BaseBackground.Config):
        color_activation: str = "sigmoid"  # name in networks/activations.py; threestudio
        dir_encoding_config: dict = field(  # encoding of the direction; threestudio
            default_factory=lambda: {"otype": "SphericalHarmonics", "degree": 3}
        )
        mlp_network_config: dict = field(  # network to the colors; threestudio
            default_factory=lambda: {
                "otype": "VanillaMLP",
                "activation": "ReLU",
                "n_neurons": 16,
                "n_hidden_layers": 2,
            }
        )
        eval_color: tuple[float, float, float] | None = (
            None  # one color in [0, 1] for evaluation; null: the network's; threestudio
        )

    cfg: Config

    def configure(self) -> None:
        self.activation = get_activation(self.cfg.color_activation, "color_activation")
        self.encoding = get_encoding(3, self.cfg.dir_encoding_config)
        self.network = get_mlp(self.encoding.n_output_dims, self.cfg.n_output_dims, self.cfg.mlp_network_config)

    def color(self, dirs: Tensor) -> Tensor:
        n_channels = self.cfg.n_output_dims
        if not self.training and self.cfg.eval_color is not None:
            return torch.tensor(list(self.cfg.eval_color)).to(dirs).expand(*dirs.shape[:-1], n_channels)
        color = self.network(self.encoding((dirs.reshape(-1, 3) + 1) / 2))
        return self.activation(color).reshape(*dirs.shape[:-1], n_channels)
