"""Functions for configs, such as `${div:${data.width},2}`, by threestudio's names."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import omegaconf
from omegaconf import OmegaConf
from omegaconf.basecontainer import BaseContainer

from .misc import C_max

RESOLVERS: dict[str, Callable] = {
    "calc_exp_lr_decay_rate": lambda factor, n: factor ** (1.0 / n),
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "idiv": lambda a, b: a // b,
    "basename": os.path.basename,
    "rmspace": lambda text, replacement: str(text).replace(" ", replacement),
    "tuple2": lambda value: [float(value), float(value)],
    "gt0": lambda value: value > 0,
    "cmaxgt0": lambda schedule: C_max(schedule) > 0,
    "not": lambda value: not value,
    "cmaxgt0orcmaxgt0": lambda a, b: C_max(a) > 0 or C_max(b) > 0,
}


def register_resolvers() -> None:
    """Register the functions in OmegaConf, except those that are registered already."""
    # OmegaConf 2.4 renamed the function to a name that another function had before.
    renamed = tuple(map(int, omegaconf.__version__.split(".")[:2])) >= (2, 4)
    register = OmegaConf.register_resolver if renamed else OmegaConf.register_new_resolver
    for name, function in RESOLVERS.items():
        if not OmegaConf.has_resolver(name):
            register(name, _plain_arguments(function))


@contextmanager
def only_own_resolvers() -> Iterator[None]:
    """Context without OmegaConf's own functions, such as `oc.env`, which threestudio does not document."""
    hidden = {name: function for name, function in BaseContainer._resolvers.items() if name.startswith("oc.")}
    for name in hidden:
        OmegaConf.clear_resolver(name)
    try:
        yield
    finally:
        BaseContainer._resolvers.update(hidden)


def _plain_arguments(function: Callable) -> Callable:
    """Give a function plain lists, and return its lists as OmegaConf lists, which OmegaConf 2.3 requires in configs."""

    def call(*args: Any) -> Any:
        result = function(*(OmegaConf.to_container(a) if OmegaConf.is_config(a) else a for a in args))
        return OmegaConf.create(result) if isinstance(result, list) else result

    return call
