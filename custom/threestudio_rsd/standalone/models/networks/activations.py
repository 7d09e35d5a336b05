"""Activation functions by the names that threestudio's configs use."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from ....errors import one_of

LARGEST_EXPONENT = 15.0  # of a gradient of trunc_exp (torch-ngp's value, as in threestudio)


def trunc_exp(x: Tensor) -> Tensor:
    """exp(x), whose gradient stops growing at exp(15): a density that explodes can still be brought down."""
    line = x.detach().exp() + math.exp(LARGEST_EXPONENT) * (x - x.detach())
    return torch.where(x > LARGEST_EXPONENT, line, x.clamp(max=LARGEST_EXPONENT).exp())


def lin2srgb(x: Tensor) -> Tensor:
    """Linear light in [0, 1] as sRGB (IEC 61966-2-1)."""
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
    """Function of that name, in any case; None and `none` change nothing.

    Args:
        name: as in a config.
        key: under which the config has it, for the error.

    Raises:
        UserError: the name is unknown.
    """
    name = "none" if name is None else str(name).lower()
    one_of(key, name, tuple(ACTIVATIONS))
    return ACTIVATIONS[name]
