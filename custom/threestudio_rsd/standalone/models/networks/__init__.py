"""Encodings and MLPs of NeRFs by the names in threestudio's configs (`threestudio/models/networks.py`)."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ....errors import fits_memory, in_range, one_of
from ...utils.config import parse_structured
from .activations import get_activation
from .encodings import CompositeEncoding, Frequency, HashGrid, ProgressiveBandFrequency, ProgressiveBandHashGrid
from .spherical_harmonics import SphericalHarmonics

__all__ = ["Activation", "CompositeEncoding", "MLPConfig", "VanillaMLP", "get_encoding", "get_mlp"]

ENCODINGS: dict[str, type] = {
    "HashGrid": HashGrid,
    "ProgressiveBandHashGrid": ProgressiveBandHashGrid,
    "Frequency": Frequency,
    "ProgressiveBandFrequency": ProgressiveBandFrequency,
}
MOST_LAYERS = 1000
FLOAT = 4  # bytes
NETWORKS = ("VanillaMLP", "FullyFusedMLP", "CutlassMLP")  # the last two are tiny-cuda-nn's names


@dataclass
class MLPConfig:
    """Config of an MLP, with keys of threestudio and tiny-cuda-nn."""

    otype: str = "VanillaMLP"  # VanillaMLP, FullyFusedMLP or CutlassMLP, which are the same here; tiny-cuda-nn
    activation: str = "ReLU"  # activation of the hidden layers; tiny-cuda-nn
    output_activation: str | None = None  # activation of the last layer; null: none; tiny-cuda-nn
    n_neurons: int = 128  # width of the hidden layers; tiny-cuda-nn
    n_hidden_layers: int = 5  # number of hidden layers; tiny-cuda-nn


class Activation(nn.Module):
    """Activation function as a layer.

    Args:
        name: name in `activations.ACTIVATIONS`, in any case; None: identity.
        key: config key of the name, for errors.
    """

    def __init__(self, name: str | None, key: str = "activation") -> None:
        super().__init__()
        self.name = name
        self.function = get_activation(name, key)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)

    def extra_repr(self) -> str:
        return str(self.name)


class VanillaMLP(nn.Module):
    """Linear layers without bias. They ignore autocast, because densities overflow half precision.

    Weights have threestudio's names: `layers.0.weight`, `layers.2.weight`, ...

    Args:
        n_input_dims: width of the input.
        n_output_dims: width of the output.
        config: values of `MLPConfig`.

    Raises:
        UserError: a config value that is impossible.
    """

    def __init__(self, n_input_dims: int, n_output_dims: int, config: Any) -> None:
        super().__init__()
        cfg = parse_structured(MLPConfig, config)
        in_range("n_neurons", cfg.n_neurons, 1)
        in_range("n_hidden_layers", cfg.n_hidden_layers, 1, MOST_LAYERS)
        widths = cfg.n_neurons * (n_input_dims + n_output_dims + cfg.n_neurons * (cfg.n_hidden_layers - 1))
        fits_memory("n_neurons", cfg.n_neurons, widths * FLOAT)
        layers: list[nn.Module] = []
        width = n_input_dims
        for _ in range(cfg.n_hidden_layers):
            layers += [nn.Linear(width, cfg.n_neurons, bias=False), Activation(cfg.activation)]
            width = cfg.n_neurons
        layers.append(nn.Linear(width, n_output_dims, bias=False))
        self.layers = nn.Sequential(*layers)
        self.output_activation = Activation(cfg.output_activation, "output_activation")

    def forward(self, x: Tensor) -> Tensor:
        """Map (*N, n_input_dims) to (*N, n_output_dims)."""
        precision = next(self.parameters()).dtype
        with torch.autocast(x.device.type, enabled=False):
            return self.output_activation(self.layers(x.to(precision)))


def get_encoding(n_input_dims: int, config: Any) -> CompositeEncoding:
    """Make an encoding of points in [0, 1]^D, whose output width is its attribute `n_output_dims`.

    Args:
        n_input_dims: number of coordinates D.
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
    """Make an MLP.

    Args:
        n_input_dims: width of the input.
        n_output_dims: width of the output.
        config: values of `MLPConfig`, `otype` included.

    Raises:
        UserError: the otype, a key or a value is not accepted.
    """
    one_of("otype", config.get("otype"), NETWORKS)
    return VanillaMLP(n_input_dims, n_output_dims, config)
