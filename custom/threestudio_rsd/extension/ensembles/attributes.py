"""One answer for what is asked of N modules."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ...particles.joint_optimizer import JointOptimizer

PLAIN = (bool, int, float, str, tuple)


def common_attribute(name: str, modules: Sequence[nn.Module], module_list: Callable[[list], nn.ModuleList]) -> Any:
    """What the modules together answer to `name`.

    Args:
        name: an attribute of each of them.
        modules: of one type.
        module_list: what holds their submodules.

    Returns:
        submodules: `module_list` of them; parameters: ParameterList; optimizers: JointOptimizer; methods: a function
        that calls each module's and returns the list of results; tensors that are computed: all in one, along the
        first axis; buffers and plain values: the value that all of them have.

    Raises:
        AttributeError: a module lacks it, their values differ, or it is private (a parameter may be).
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
    raise AttributeError(f"The {len(modules)} particles have no common value of {name!r}.")


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    return one is other or (isinstance(one, PLAIN) and one == other)
