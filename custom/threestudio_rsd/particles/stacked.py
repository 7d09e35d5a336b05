"""N modules of one architecture in one call: their parameters are stacked, and each layer is one batched product."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap


class _Method(nn.Module):
    """A module whose `forward` is a method of another one."""

    def __init__(self, module: nn.Module, method: str) -> None:
        super().__init__()
        self.module = module
        self.method = method

    def forward(self, *inputs: Any, **options: Any) -> Any:
        return getattr(self.module, self.method)(*inputs, **options)


def call_stacked(modules: Sequence[nn.Module], method: str, *inputs: Tensor, **options: Any) -> Any:
    """What each module's method gives for its own slice of the inputs, computed for all at once.

    Gradients reach every module's own parameters. The equal of a loop, to rounding.

    Args:
        modules: N of one architecture, see `have_one_architecture`.
        method: name of a method that draws no random numbers and looks at no values.
        inputs: tensors (N, ...), one slice for each module.
        options: keyword arguments, the same for all.

    Returns:
        What one module returns, every tensor with a first axis of N.
    """
    names = dict(modules[0].named_parameters()) | dict(modules[0].named_buffers())
    states = [dict(module.named_parameters()) | dict(module.named_buffers()) for module in modules]
    stacked = {f"module.{name}": torch.stack([state[name] for state in states]) for name in names}
    caller = _Method(modules[0], method)

    def call_one(state: dict[str, Tensor], *slices: Tensor) -> Any:
        return functional_call(caller, state, slices, options)

    return vmap(call_one)(stacked, *inputs)


def have_one_architecture(modules: Sequence[nn.Module]) -> bool:
    """Whether the modules are of one class and have parameters and buffers of the same names, shapes and devices."""

    def layout(module: nn.Module) -> list[tuple]:
        tensors = [*module.named_parameters(), *module.named_buffers()]
        return [(name, tensor.shape, tensor.dtype, tensor.device) for name, tensor in tensors]

    first = modules[0]
    return all(type(module) is type(first) and layout(module) == layout(first) for module in modules[1:])
