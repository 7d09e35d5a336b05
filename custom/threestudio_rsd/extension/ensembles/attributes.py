"""Attribute lookup on N modules of one type."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ...particles.joint_optimizer import JointOptimizer

PLAIN = (bool, int, float, str, tuple)  # types that are compared by value


def common_attribute(name: str, modules: Sequence[nn.Module], module_list: Callable[[list], nn.ModuleList]) -> Any:
    """Attribute `name` of all modules, as one value.

    Args:
        name: name of an attribute that each module has.
        modules: modules of one type.
        module_list: makes the container of a list of submodules.

    Returns:
        depends on the attribute. Submodules: `module_list` of them. Parameters: ParameterList. Optimizers:
        JointOptimizer. Methods: a function that calls each module's method and returns the list of results. Computed
        tensors: their concatenation along the first axis. Buffers and plain values: the value, equal in all modules.

    Raises:
        AttributeError: a module lacks the attribute, the values differ, or it is private and not a parameter.
    """
    if name.startswith("_") and name not in modules[0]._parameters:
        raise AttributeError(f"{name!r} is private to the particles.")
    values = [getattr(module, name) for module in modules]
    first = values[0]
    if isinstance(first, nn.Module):
        return module_list(values)
    if name in modules[0]._parameters:
        return nn.ParameterList(values)
    if isinstance(first, Optimizer):
        return JointOptimizer(values)
    if callable(first):
        return lambda *args, **kwargs: [method(*args, **kwargs) for method in values]
    if isinstance(first, Tensor) and name not in modules[0]._buffers:
        return torch.cat(values)
    if all(_same(first, value) for value in values):
        return first
    raise AttributeError(f"The {len(modules)} particles have different values of {name!r}.")


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    return one is other or (isinstance(one, PLAIN) and one == other)
