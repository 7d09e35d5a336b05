"""Small networks and encodings by the names that threestudio's configs use."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ....errors import UserError, one_of
from ...utils.config import parse_structured
from .activations import get_activation
from .encodings import CompositeEncoding, Frequency, HashGrid, ProgressiveBandFrequency, ProgressiveBandHashGrid
from .spherical_harmonics import SphericalHarmonics

ENCODINGS: dict[str, type] = {
    "HashGrid": HashGrid,
    "ProgressiveBandHashGrid": ProgressiveBandHashGrid,
    "Frequency": Frequency,
    "ProgressiveBandFrequency": ProgressiveBandFrequency,
}
NETWORKS = ("VanillaMLP", "FullyFusedMLP", "CutlassMLP")  # the last two are tiny-cuda-nn's: the same function


@dataclass
class MLPConfig:
    """Keys of threestudio and tiny-cuda-nn."""

    otype: str = "VanillaMLP"  # VanillaMLP, FullyFusedMLP, CutlassMLP: all the same here
    activation: str = "ReLU"  # of the hidden layers
    output_activation: str | None = None  # of the last layer
    n_neurons: int = 128  # of a hidden layer; tiny-cuda-nn
    n_hidden_layers: int = 5  # tiny-cuda-nn


class Activation(nn.Module):
    """An activation function as a layer."""

    def __init__(self, name: str | None, key: str = "activation") -> None:
        super().__init__()
        self.name = name
        self.function = get_activation(name, key)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)

    def extra_repr(self) -> str:
        return str(self.name)


class VanillaMLP(nn.Module):
    """Linear layers without bias, in single precision under any autocast: densities overflow half precision.

    Weights have threestudio's names: `layers.0.weight`, `layers.2.weight`, ...

    Raises:
        UserError: a config value that is impossible.
    """

    def __init__(self, n_input_dims: int, n_output_dims: int, config: Any) -> None:
        super().__init__()
        cfg = parse_structured(MLPConfig, config)
        for key in ("n_neurons", "n_hidden_layers"):
            if cfg[key] < 1:
                raise UserError(f"{key}={cfg[key]} is impossible; accepted: at least 1.")
        layers: list[nn.Module] = []
        width = n_input_dims
        for _ in range(cfg.n_hidden_layers):
            layers += [nn.Linear(width, cfg.n_neurons, bias=False), Activation(cfg.activation)]
            width = cfg.n_neurons
        layers.append(nn.Linear(width, n_output_dims, bias=False))
        self.layers = nn.Sequential(*layers)
        self.output_activation = Activation(cfg.output_activation, "output_activation")

    def forward(self, x: Tensor) -> Tensor:
        """(*N, n_input_dims) to (*N, n_output_dims)."""
        precision = next(self.parameters()).dtype
        with torch.autocast(x.device.type, enabled=False):
            return self.output_activation(self.layers(x.to(precision)))


def get_encoding(n_input_dims: int, config: Any) -> CompositeEncoding:
    """Encoding of points in [0, 1]^n_input_dims; its output width is `n_output_dims`.

    Args:
        n_input_dims: D of the points (N, D).
        config: `otype`, the keys of that encoding, and `include_xyz`.

    Raises:
        UserError: the otype, a key or a value is not accepted.
    """
    otype = config.get("otype")
    one_of("otype", otype, (*ENCODINGS, "SphericalHarmonics"))
    include_xyz = bool(config.get("include_xyz", False))
    if otype == "SphericalHarmonics":
        return CompositeEncoding(SphericalHarmonics(n_input_dims, config.get("degree", 4)), include_xyz)
    return CompositeEncoding(ENCODINGS[otype](n_input_dims, config), include_xyz)


def get_mlp(n_input_dims: int, n_output_dims: int, config: Any) -> VanillaMLP:
    """Network of the config's `otype`.

    Raises:
        UserError: the otype, a key or a value is not accepted.
    """
    one_of("otype", config.get("otype"), NETWORKS)
    return VanillaMLP(n_input_dims, n_output_dims, config)
