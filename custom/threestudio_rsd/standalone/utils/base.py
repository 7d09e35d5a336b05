"""Base classes of everything that a config builds: `Updateable`, `BaseObject`, `BaseModule`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .config import parse_structured
from .misc import get_device
from .weights import load_module_weights


class Updateable:
    """Object whose settings change during training.

    In each step, the public attributes that are Updateable are updated first, then the object itself. Elements of lists
    and ModuleLists are not updated. An object that can be reached by two paths is updated twice, so `update_step` must
    give the same result when it is repeated.
    """

    def do_update_step(self, epoch: int, global_step: int, on_load_weights: bool = False) -> None:
        """Call `update_step` of the parts and of this object.

        Args:
            epoch: number of finished epochs.
            global_step: number of finished training steps.
            on_load_weights: whether weights have just been loaded; tensors may then be on different devices.
        """
        for part in self._updateable_parts():
            part.do_update_step(epoch, global_step, on_load_weights=on_load_weights)
        self.update_step(epoch, global_step, on_load_weights=on_load_weights)

    def do_update_step_end(self, epoch: int, global_step: int) -> None:
        """Call `update_step_end` of the parts and of this object."""
        for part in self._updateable_parts():
            part.do_update_step_end(epoch, global_step)
        self.update_step_end(epoch, global_step)

    def update_step(self, epoch: int, global_step: int, on_load_weights: bool = False) -> None:
        """For subclasses: set what depends on the step, at its start. See `do_update_step` for the arguments."""

    def update_step_end(self, epoch: int, global_step: int) -> None:
        """For subclasses: set what depends on the step, at its end."""

    def _updateable_parts(self) -> Iterator["Updateable"]:
        attributes = {**vars(self), **vars(self).get("_modules", {})}
        for name in sorted(attributes):
            if not name.startswith("_") and isinstance(attributes[name], Updateable):
                yield attributes[name]


def update_if_possible(module: Any, epoch: int, global_step: int) -> None:
    """Update a module at the start of a step, if it is Updateable."""
    if isinstance(module, Updateable):
        module.do_update_step(epoch, global_step)


def update_end_if_possible(module: Any, epoch: int, global_step: int) -> None:
    """Update a module at the end of a step, if it is Updateable."""
    if isinstance(module, Updateable):
        module.do_update_step_end(epoch, global_step)


class BaseObject(Updateable):
    """Configured object without trained parameters.

    Args:
        cfg: values of `Config`; others have their defaults.
        args, kwargs: passed on to `configure`.

    Raises:
        UserError: `cfg` does not fit `Config`.
    """

    @dataclass
    class Config:
        pass

    cfg: Config

    def __init__(self, cfg: Any = None, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self.cfg = parse_structured(self.Config, cfg)
        self.device = get_device()
        self.configure(*args, **kwargs)

    def configure(self, *args: Any, **kwargs: Any) -> None:
        """For subclasses: build what the config describes."""


class BaseModule(nn.Module, Updateable):
    """Configured `nn.Module`, whose weights may come from a checkpoint.

    Args:
        cfg: values of `Config`; others have their defaults.
        args, kwargs: passed on to `configure`.

    Raises:
        UserError: `cfg` does not fit `Config`, or the weights cannot be read.
    """

    @dataclass
    class Config:
        weights: str | None = None  # PATH.ckpt:ATTRIBUTE, a checkpoint and the system's attribute to load; threestudio

    cfg: Config

    def __init__(self, cfg: Any = None, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self.cfg = parse_structured(self.Config, cfg)
        self.device = get_device()
        self.configure(*args, **kwargs)
        if self.cfg.weights is not None:
            path, _, attribute = self.cfg.weights.rpartition(":")
            state, epoch, global_step = load_module_weights(path, module_name=attribute, map_location="cpu")
            self.load_state_dict(state)
            self.do_update_step(epoch, global_step, on_load_weights=True)
        # Gives subclasses without parameters a tensor that follows .to(device).
        self.register_buffer("_dummy", torch.zeros(0), persistent=False)

    def configure(self, *args: Any, **kwargs: Any) -> None:
        """For subclasses: build what the config describes."""
