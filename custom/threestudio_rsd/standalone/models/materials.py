"""Materials, which turn features of the geometry into colors."""

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

SHADINGS = ("albedo", "textureless", "diffuse")  # color alone, light alone, both


class BaseMaterial(BaseModule):
    """Base class of materials. `requires_normal` and `requires_tangent` tell the renderer which arguments to pass."""

    @dataclass
    class Config(BaseModule.Config):
        pass

    cfg: Config
    requires_normal = False
    requires_tangent = False

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """For subclasses: colors, (*N, 3)."""
        raise NotImplementedError

    def export(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Colors for a mesh: `albedo` (*N, 3) in [0, 1], or an empty dict if colors depend on the view."""
        return {}


@register("no-material")
class NoMaterial(BaseMaterial):
    """Colors are the features after an optional small network and an activation."""

    @dataclass
    class Config(BaseMaterial.Config):
        n_output_dims: int = 3  # color channels; threestudio
        color_activation: str = "sigmoid"  # name in networks/activations.py; threestudio
        input_feature_dims: int | None = None  # number of the geometry's features, for the network; threestudio
        mlp_network_config: dict | None = None  # network from features to colors; null: none; threestudio
        requires_normal: bool = False  # have the geometry compute normals, for example for a loss; threestudio

    cfg: Config

    def configure(self) -> None:
        cfg = self.cfg
        self.requires_normal = cfg.requires_normal
        self.activation = get_activation(cfg.color_activation, "color_activation")
        self.network = None
        if cfg.input_feature_dims is not None and cfg.mlp_network_config is not None:
            self.network = get_mlp(cfg.input_feature_dims, cfg.n_output_dims, cfg.mlp_network_config)

    def forward(self, features: Tensor, **kwargs: Any) -> Tensor:
        """Colors of points.

        Args:
            features: features of the geometry, (*N, F).
            **kwargs: ignored.

        Returns:
            (*N, n_output_dims)

        Raises:
            UserError: there is no network, and F is not n_output_dims.
        """
        n_channels = self.cfg.n_output_dims
        if self.network is not None:
            flat = self.network(features.reshape(-1, features.shape[-1]))
            return self.activation(flat).reshape(*features.shape[:-1], n_channels)
        if features.shape[-1] != n_channels:
            raise UserError(
                f"no-material has {n_channels} channels, but the geometry has {features.shape[-1]} features; "
                f"accepted: geometry.n_feature_dims={n_channels}, or input_feature_dims and mlp_network_config here."
            )
        return self.activation(features)

    def export(self, features: Tensor, **kwargs: Any) -> dict[str, Any]:
        """Colors for a mesh, from features (*N, F).

        Raises:
            UserError: the material has fewer than three channels.
        """
        color = self(features, **kwargs).clamp(0, 1)
        if color.shape[-1] < 3:
            raise UserError(
                f"n_output_dims={color.shape[-1]} is not a color to export; accepted: an integer of at least 3."
            )
        if color.shape[-1] > 3:
            warn(f"The first 3 of {color.shape[-1]} output channels are exported as red, green and blue")
        return {"albedo": color[..., :3]}


@register("diffuse-with-point-light-material")
class DiffuseWithPointLightMaterial(BaseMaterial):
    """Lambertian surface under a point light and an ambient light (DreamFusion, Poole et al., 2022, section 3.1).

    In training, one of three shadings is drawn for the whole batch: colors alone, light alone, or both.
    """

    @dataclass
    class Config(BaseMaterial.Config):
        ambient_light_color: tuple[float, float, float] = (0.1, 0.1, 0.1)  # RGB in [0, 1]; DreamFusion
        diffuse_light_color: tuple[float, float, float] = (0.9, 0.9, 0.9)  # RGB in [0, 1]; DreamFusion
        ambient_only_steps: int = 1000  # training steps with colors alone; DreamFusion
        diffuse_prob: float = 0.75  # probability that a lit shading is drawn; DreamFusion
        textureless_prob: float = 0.5  # probability that a lit shading has no colors; DreamFusion
        albedo_activation: str = "sigmoid"  # name in networks/activations.py; threestudio
        soft_shading: bool = False  # draw the ratio of ambient and diffuse light in training; threestudio
        ambient_only_on_test: bool = False  # show colors alone in evaluation; threestudio

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
        """Switch the light on after `ambient_only_steps`."""
        self.ambient_only = global_step < self.cfg.ambient_only_steps

    def forward(
        self,
        features: Tensor,
        positions: Tensor,
        shading_normal: Tensor,
        light_positions: Tensor,
        ambient_ratio: float | None = None,
        shading: str | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Colors of points.

        Args:
            features: features of the geometry, (*N, F); the first three are the albedo before its activation.
            positions: world coordinates of the points, (*N, 3).
            shading_normal: unit normals, (*N, 3).
            light_positions: world coordinates of the light of each point, (*N, 3).
            ambient_ratio: share of the ambient light in [0, 1]; None: from the config, or drawn (`soft_shading`).
            shading: `albedo`, `textureless` or `diffuse`; None: drawn in training; in evaluation `diffuse`, or `albedo`
                with `ambient_only_on_test` or before `ambient_only_steps`.
            **kwargs: ignored.

        Returns:
            (*N, 3)

        Raises:
            UserError: the shading is unknown.
        """
        # Random numbers are drawn in threestudio's order, so that a seed gives the same sequence of shadings.
        ambient, diffuse = self._lights(ambient_ratio)
        shading = self._draw_shading() if shading is None else shading
        one_of("shading", shading, SHADINGS)

        albedo = self.activation(features[..., :3])
        to_light = functional.normalize(light_positions - positions, dim=-1)
        facing = (shading_normal * to_light).sum(-1, keepdim=True).clamp(min=0)
        light = facing * diffuse + ambient
        if shading == "diffuse":
            return albedo.clamp(0, 1) * light
        # 0 * light, 0 * albedo: distributed training needs a gradient, even 0, for every parameter.
        return albedo + 0 * light if shading == "albedo" else light + 0 * albedo

    def export(self, features: Tensor, **kwargs: Any) -> dict[str, Any]:
        """Albedo for a mesh, from features (*N, F)."""
        return {"albedo": self.activation(features[..., :3]).clamp(0, 1)}

    def _lights(self, ambient_ratio: float | None) -> tuple[Tensor, Tensor]:
        """Colors of the ambient light and of the diffuse light, each (3,)."""
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
    """Colors from features and view direction by a small network (NeRF, Mildenhall et al., 2020)."""

    @dataclass
    class Config(BaseMaterial.Config):
        input_feature_dims: int = 8  # number of the geometry's features; threestudio
        color_activation: str = "sigmoid"  # name in networks/activations.py; threestudio
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

    def forward(self, features: Tensor, viewdirs: Tensor, **kwargs: Any) -> Tensor:
        """Colors of points.

        Args:
            features: features of the geometry, (*N, F).
            viewdirs: unit directions from the camera, (*N, 3).
            **kwargs: ignored.

        Returns:
            (*N, 3)
        """
        encoded = self.encoding((viewdirs.reshape(-1, 3) + 1) / 2)
        color = self.network(torch.cat([features.reshape(-1, features.shape[-1]), encoded], dim=-1))
        return self.activation(color).reshape(*features.shape[:-1], 3)
