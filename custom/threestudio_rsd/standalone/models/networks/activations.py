"""Activation functions by the names in threestudio's configs."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from ....errors import one_of

LARGEST_EXPONENT = 15.0  # above it, the gradient of trunc_exp is constant; torch-ngp and threestudio


def trunc_exp(x: Tensor) -> Tensor:
    """Return exp(x) with a gradient of at most exp(15), so that training can reduce very large densities."""
    line = x.detach().exp() + math.exp(LARGEST_EXPONENT) * (x - x.detach())
    return torch.where(x > LARGEST_EXPONENT, line, x.clamp(max=LARGEST_EXPONENT).exp())


def lin2srgb(x: Tensor) -> Tensor:
    """Convert linear light in [0, 1] to sRGB (IEC 61966-2-1)."""
    curve = 1.055 * x.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(x > 0.0031308, curve, 12.92 * x).clamp(0, 1)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "exp": torch.exp,
    "shifted_exp": lambda x: torch.exp(x - 1),
    "trunc_exp": trunc_exp,
    "shifted_trunc_exp": lambda x: trunc_exp(x - 1),
    "softplus": functional.softplus,
    "shifted_softplus": lambda x: functional.softplus(x - 1),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "lin2srgb": lin2srgb,
    "scale_-11_01": lambda x: x * 0.5 + 0.5,
    "relu": functional.relu,
    "leaky_relu": functional.leaky_relu,
    "elu": functional.elu,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "softsign": functional.softsign,
}


def get_activation(name: str | None, key: str = "activation") -> Callable[[Tensor], Tensor]:
    """Return an activation function.

    Args:
        name: name in `ACTIVATIONS`, in any case; None: identity.
        key: config key of the name, for errors.

    Raises:
        UserError: the name is unknown.

    Example:
        >>> get_activation("ReLU")(torch.tensor([-1.0, 2.0]))
        tensor([0., 2.])
    """
    name = "none" if name is None else str(name).lower()
    one_of(key, name, tuple(ACTIVATIONS))
    return ACTIVATIONS[name]
