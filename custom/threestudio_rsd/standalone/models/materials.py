"""Materials: from features of the geometry to colors."""

import random
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ...errors import UserError, one_of
from ..utils.base import BaseModule
from ..utils.messages import warn
from ..utils.registry import register
from .networks import get_encoding, get_mlp
from .networks.activations import get_activation

SHADINGS = ("albedo", "textureless", "diffuse")


class BaseMaterial(BaseModule):
    """What the renderer asks for colors; `requires_normal` and `requires_tangent` say what else it must give."""

    @dataclass
    class Config(BaseModule.Config):
        pass

    cfg: Config
    requires_normal = False
    requires_tangent = False

    def forward(self, *args, **kwargs) -> Tensor:
        """Colors (*N, 3)."""
        raise NotImplementedError

    def export(self, *args, **kwargs) -> dict[str, Any]:
        """What a mesh is painted with, as `albedo` (*N, 3) in [0, 1]; nothing where colors depend on the view."""
        return {}


@register("no-material")
class NoMaterial(BaseMaterial):
    """The features are the colors, after an activation and, if wished, a small network."""

    @dataclass
    class Config(BaseMaterial.Config):
        n_output_dims: int = 3  # color channels; threestudio
        color_activation: str = "sigmoid"  # see activations; threestudio
        input_feature_dims: int | None = None  # features of the geometry; with a network only
        mlp_network_config: dict | None = None  # network from features to colors; null: none
        requires_normal: bool = False  # ask the geometry for normals, say for a loss

    cfg: Config

    def configure(self) -> None:
        cfg = self.cfg
        self.requires_normal = cfg.requires_normal
        self.activation = get_activation(cfg.color_activation, "color_activation")
        self.network = None
        if cfg.input_feature_dims is not None and cfg.mlp_network_config is not None:
            self.network = get_mlp(cfg.input_feature_dims, cfg.n_output_dims, cfg.mlp_network_config)

    def forward(self, features: Tensor, **kwargs) -> Tensor:
        """Features (*N, F) to colors (*N, n_output_dims).

        Raises:
            UserError: without a network, the features are not as many as the channels.
        """
        n_channels = self.cfg.n_output_dims
        if self.network is not None:
            flat = self.network(features.reshape(-1, features.shape[-1]))
            return self.activation(flat).reshape(*features.shape[:-1], n_channels)
        if features.shape[-1] != n_channels:
            raise UserError(
                f"no-material shows {n_channels} channels, but the geometry has {features.shape[-1]} features; "
                f"accepted: geometry.n_feature_dims={n_channels}, or input_feature_dims and mlp_network_config here."
            )
        return self.activation(features)

    def export(self, features: Tensor, **kwargs) -> dict[str, Any]:
        color = self(features, **kwargs).clamp(0, 1)
        if color.shape[-1] < 3:
            raise UserError(f"n_output_dims={color.shape[-1]} is no color to export; accepted: 3 and more.")
        if color.shape[-1] > 3:
            warn(f"The first 3 of {color.shape[-1]} output channels are exported as red, green and blue")
        return {"albedo": color[..., :3]}


@register("diffuse-with-point-light-material")
class DiffuseWithPointLightMaterial(BaseMaterial):
    """Lambertian surface under a point light and an ambient one (DreamFusion, Poole et al., 2022, section 3.1).

    In training one of three shadings is drawn for the whole batch: the colors alone, the light alone, or both.
    """

    @dataclass
    class Config(BaseMaterial.Config):
        ambient_light_color: tuple[float, float, float] = (0.1, 0.1, 0.1)  # DreamFusion
        diffuse_light_color: tuple[float, float, float] = (0.9, 0.9, 0.9)  # DreamFusion
        ambient_only_steps: int = 1000  # training steps without light; DreamFusion
        diffuse_prob: float = 0.75  # probability that a lit shading is drawn; DreamFusion
        textureless_prob: float = 0.5  # probability that a lit shading has no colors; DreamFusion
        albedo_activation: str = "sigmoid"  # see activations; threestudio
        soft_shading: bool = False  # draw the share of the ambient light in training
        ambient_only_on_test: bool = False  # no light in evaluation

    cfg: Config
    requires_normal = True
    ambient_light_color: Tensor
    diffuse_light_color: Tensor

    def configure(self) -> None:
        self.activation = get_activation(self.cfg.albedo_activation, "albedo_activation")
        self.register_buffer("ambient_light_color", torch.tensor(self.cfg.ambient_light_color))
        self.register_buffer("diffuse_light_color", torch.tensor(self.cfg.diffuse_light_color))
        self.ambient_only = False

    def update_step(self, epoch: int, global_step: int, on_load_weights: bool = False) -> None:
        self.ambient_only = global_step < self.cfg.ambient_only_steps

    def forward(
        self,
        features: Tensor,
        positions: Tensor,
        shading_normal: Tensor,
        light_positions: Tensor,
        ambient_ratio: float | None = None,
        shading: str | None = None,
        **kwargs,
    ) -> Tensor:
        """Colors (*N, 3).

        Args:
            features: the first three are the albedo before its activation, (*N, F).
            positions, shading_normal, light_positions: (*N, 3).
            ambient_ratio: share of the ambient light; None: as configured, or drawn.
            shading: `albedo`, `textureless` or `diffuse`; None: drawn in training, `diffuse` in evaluation.

        Raises:
            UserError: another shading.
        """
        # The draws come in threestudio's order, so that one seed gives one sequence of shadings.
        ambient, diffuse = self._lights(ambient_ratio)
        shading = self._draw_shading() if shading is None else shading
        one_of("shading", shading, SHADINGS)

        albedo = self.activation(features[..., :3])
        to_light = functional.normalize(light_positions - positions, dim=-1)
        facing = (shading_normal * to_light).sum(-1, keepdim=True).clamp(min=0)
        light = facing * diffuse + ambient
        if shading == "diffuse":
            return albedo.clamp(0, 1) * light
        # What is not shown stays in the graph: distributed training wants a gradient, though 0, for every parameter.
        return albedo + 0 * light if shading == "albedo" else light + 0 * albedo

    def export(self, features: Tensor, **kwargs) -> dict[str, Any]:
        return {"albedo": self.activation(features[..., :3]).clamp(0, 1)}

    def _lights(self, ambient_ratio: float | None) -> tuple[Tensor, Tensor]:
        """Colors of the ambient and of the diffuse light, (3,) each."""
        if ambient_ratio is None and not (self.training and self.cfg.soft_shading):
            return self.ambient_light_color, self.diffuse_light_color
        diffuse_share = random.random() if ambient_ratio is None else 1 - ambient_ratio
        diffuse = torch.full_like(self.diffuse_light_color, diffuse_share)
        return 1 - diffuse, diffuse

    def _draw_shading(self) -> str:
        if not self.training:
            return "albedo" if self.ambient_only or self.cfg.ambient_only_on_test else "diffuse"
        if self.ambient_only or random.random() > self.cfg.diffuse_prob:
            return "albedo"
        return "textureless" if random.random() < self.cfg.textureless_prob else "diffuse"


@register("neural-radiance-material")
class NeuralRadianceMaterial(BaseMaterial):
    """Colors that depend on the view: a network on features and view direction (NeRF, Mildenhall et al., 2020)."""

    @dataclass
    class Config(BaseMaterial.Config):
        input_feature_dims: int = 8  # features of the geometry; threestudio
        color_activation: str = "sigmoid"  # see activations; threestudio
        dir_encoding_config: dict = field(  # encoding of the view direction; threestudio
            default_factory=lambda: {"otype": "SphericalHarmonics", "degree": 3}
        )
        mlp_network_config: dict = field(  # network to the colors; threestudio
            default_factory=lambda: {
                "otype": "FullyFusedMLP",
                "activation": "ReLU",
                "n_neurons": 16,
                "n_hidden_layers": 2,
            }
        )

    cfg: Config

    def configure(self) -> None:
        self.activation = get_activation(self.cfg.color_activation, "color_activation")
        self.encoding = get_encoding(3, self.cfg.dir_encoding_config)
        self.n_input_dims = self.cfg.input_feature_dims + self.encoding.n_output_dims
        self.network = get_mlp(self.n_input_dims, 3, self.cfg.mlp_network_config)

    def forward(self, features: Tensor, viewdirs: Tensor, **kwargs) -> Tensor:
        """Features (*N, F) and unit directions (*N, 3) to colors (*N, 3)."""
        encoded = self.encoding((viewdirs.reshape(-1, 3) + 1) / 2)
        color = self.network(torch.cat([features.reshape(-1, features.shape[-1]), encoded], dim=-1))
        return self.activation(color).reshape(*features.shape[:-1], 3)
