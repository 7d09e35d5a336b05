"""One call for N modules of the same architecture: parameters are stacked, and each layer is one batched product."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap


class _Method(nn.Module):
    """Module whose `forward` is a method of another module."""

    def __init__(self, module: nn.Module, method: str) -> None:
        super().__init__()
        self.module = module
        self.method = method

    def forward(self, *inputs: Any, **options: Any) -> Any:
        return getattr(self.module, self.method)(*inputs, **options)


def call_stacked(modules: Sequence[nn.Module], method: str, *inputs: Tensor, **options: Any) -> Any:
    """Call a method of N modules, each with its own slice of the inputs, in one batched computation.

    Equals a loop over the modules up to rounding. Gradients reach the parameters of every module.

    Args:
        modules: N modules of the same architecture, see `have_one_architecture`.
        method: name of a method without random numbers and without control flow that depends on values.
        *inputs: tensors (N, ...), one slice for each module.
        **options: keyword arguments, the same for all modules.

    Returns:
        Result of the method, every tensor with a first axis of length N.

    Example:
        >>> layers = [nn.Linear(2, 1), nn.Linear(2, 1)]
        >>> x = torch.randn(2, 5, 2)
        >>> torch.allclose(call_stacked(layers, "forward", x)[1], layers[1](x[1]), atol=1e-6)
        True
    """
    names = dict(modules[0].named_parameters()) | dict(modules[0].named_buffers())
    states = [dict(module.named_parameters()) | dict(module.named_buffers()) for module in modules]
    stacked = {f"module.{name}": torch.stack([state[name] for state in states]) for name in names}
    caller = _Method(modules[0], method)

    def call_one(state: dict[str, Tensor], *slices: Tensor) -> Any:
        return functional_call(caller, state, slices, options)

    return vmap(call_one)(stacked, *inputs)


def have_one_architecture(modules: Sequence[nn.Module]) -> bool:
    """Whether modules have the same class, and parameters and buffers of the same names, shapes, dtypes and devices."""

    def layout(module: nn.Module) -> list[tuple[object, ...]]:
        tensors = [*module.named_parameters(), *module.named_buffers()]
        return [(name, tensor.shape, tensor.dtype, tensor.device) for name, tensor in tensors]

    first = modules[0]
    return all(type(module) is type(first) and layout(module) == layout(first) for module in modules[1:])
