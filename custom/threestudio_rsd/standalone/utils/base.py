"""Base classes of everything that a config builds."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .config import parse_structured
from .misc import get_device
from .weights import load_module_weights


class Updateable:
    """Something whose settings change during training.

    A step updates the public attributes that are Updateable first, then the object itself. Lists and ModuleLists are
    not entered. An object that is reached on two ways is updated twice: `update_step` must give the same result then.
    """

    def do_update_step(self, epoch: int, global_step: int, on_load_weights: bool = False) -> None:
        for part in self._updateable_parts():
            part.do_update_step(epoch, global_step, on_load_weights=on_load_weights)
        self.update_step(epoch, global_step, on_load_weights=on_load_weights)

    def do_update_step_end(self, epoch: int, global_step: int) -> None:
        for part in self._updateable_parts():
            part.do_update_step_end(epoch, global_step)
        self.update_step_end(epoch, global_step)

    def update_step(self, epoch: int, global_step: int, on_load_weights: bool = False) -> None:
        """For subclasses. With `on_load_weights`, tensors may still be on different devices."""

    def update_step_end(self, epoch: int, global_step: int) -> None:
        """For subclasses."""

    def _updateable_parts(self) -> Iterator["Updateable"]:
        attributes = {**vars(self), **vars(self).get("_modules", {})}
        for name in sorted(attributes):
            if not name.startswith("_") and isinstance(attributes[name], Updateable):
                yield attributes[name]


def update_if_possible(module: Any, epoch: int, global_step: int) -> None:
    """Update what can be updated at the start of a step."""
    if isinstance(module, Updateable):
        module.do_update_step(epoch, global_step)


def update_end_if_possible(module: Any, epoch: int, global_step: int) -> None:
    """Update what can be updated at the end of a step."""
    if isinstance(module, Updateable):
        module.do_update_step_end(epoch, global_step)


class BaseObject(Updateable):
    """A configured object without trained parameters.

    Raises:
        UserError: `cfg` does not fit `Config`.
    """

    @dataclass
    class Config:
        pass

    cfg: Config

    def __init__(self, cfg: Any = None, *args, **kwargs) -> None:
        super().__init__()
        self.cfg = parse_structured(self.Config, cfg)
        self.device = get_device()
        self.configure(*args, **kwargs)

    def configure(self, *args, **kwargs) -> None:
        """For subclasses: build what the config says."""


class BaseModule(nn.Module, Updateable):
    """A configured module; `weights: path/to/file.ckpt:attribute` loads that part of a checkpoint.

    Raises:
        UserError: `cfg` does not fit `Config`, or the weights cannot be read.
    """

    @dataclass
    class Config:
        weights: str | None = None  # checkpoint and the system's attribute in it, as path:attribute

    cfg: Config

    def __init__(self, cfg: Any = None, *args, **kwargs) -> None:
        super().__init__()
        self.cfg = parse_structured(self.Config, cfg)
        self.device = get_device()
        self.configure(*args, **kwargs)
        if self.cfg.weights is not None:
            path, _, attribute = self.cfg.weights.rpartition(":")
            state, epoch, global_step = load_module_weights(path, module_name=attribute, map_location="cpu")
            self.load_state_dict(state)
            self.do_update_step(epoch, global_step, on_load_weights=True)
        # Parameterless subclasses have something that follows .to(device).
        self.register_buffer("_dummy", torch.zeros(0), persistent=False)

    def configure(self, *args, **kwargs) -> None:
        """For subclasses: build what the config says."""
