"""Operations that would wait for a GPU, found on the CPU."""

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

COPIES = {torch.tensor, torch.as_tensor, torch.Tensor.new_tensor}  # of numbers to the device
READS = {getattr(torch.Tensor, name) for name in ("item", "tolist", "__bool__", "__int__", "__float__")}


class NoWaiting(TorchFunctionMode):
    """Context in which a copy of numbers to a tensor, or of a tensor to numbers, is an error."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in COPIES | READS:
            raise AssertionError(f"{function} waits for the device")
        return function(*args, **(kwargs or {}))
