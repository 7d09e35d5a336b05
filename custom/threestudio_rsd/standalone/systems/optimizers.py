"""Optimizers and learning-rate schedulers from configs (`threestudio/systems/utils.py`)."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import lr_scheduler

from ...errors import UserError, one_of
from ..utils.config import config_to_primitive


def parse_optimizer(config: Any, model: nn.Module) -> torch.optim.Optimizer:
    """Make an optimizer of torch.optim.

    Args:
        config: `name` of the class, `args` for its constructor, and optionally `params`, which maps dotted attributes
            of the model to the arguments of their parameter group. Without `params`, all parameters that require a
            gradient are trained.
        model: module whose parameters are trained.

    Raises:
        UserError: the name, an attribute or an argument is unknown.
    """
    config = config_to_primitive(config)
    name = config.get("name")
    optimizer = getattr(torch.optim, str(name), None)
    if not (isinstance(optimizer, type) and issubclass(optimizer, torch.optim.Optimizer)):
        raise UserError(f"optimizer.name={name!r} is unknown; accepted: Adam, AdamW, SGD and others of torch.optim.")
    parameters: list
    params, arguments = config.get("params"), config.get("args") or {}
    if not isinstance(arguments, dict) or not isinstance(params, dict | None):
        raise UserError("optimizer.args and optimizer.params have keys: optimizer.args.lr=0.1, not optimizer.args=0.1.")
    if params is not None:
        parameters = [
            {"params": list(_parameters(model, str(attribute))), "name": attribute, **_group(attribute, own)}
            for attribute, own in params.items()
        ]
    else:
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        return optimizer(parameters, **arguments)
    except (TypeError, ValueError, LookupError, AssertionError) as error:
        raise UserError(f"optimizer={config!r} is not accepted by torch.optim.{name}: {error}.") from error


def parse_scheduler(config: Any, optimizer: torch.optim.Optimizer) -> dict:
    """Make a scheduler of torch.optim.lr_scheduler in Lightning's format.

    Args:
        config: `name` of the class, `args` for its constructor, `interval` (`epoch` or `step`). Instead of `args`,
            SequentialLR takes `schedulers` and `milestones`, and ChainedScheduler takes `schedulers`.
        optimizer: optimizer whose learning rates are scheduled.

    Returns:
        {"scheduler": ..., "interval": ...}

    Raises:
        UserError: the name, the interval or an argument is unknown.
    """
    config = config_to_primitive(config)
    interval = config.get("interval", "epoch")
    one_of("scheduler.interval", interval, ("epoch", "step"))
    return {"scheduler": _scheduler(config, optimizer), "interval": interval}


def _group(attribute: str, arguments: Any) -> dict:
    """Arguments of a parameter group."""
    if not isinstance(arguments, dict | None):
        raise UserError(f"optimizer.params.{attribute}={arguments!r} has no keys; accepted: {{lr: 0.1}} and others.")
    return arguments or {}


def _parameters(model: nn.Module, attribute: str) -> Iterable[nn.Parameter]:
    part: Any = model
    for name in attribute.split("."):
        if not hasattr(part, name):
            raise UserError(f"optimizer.params.{attribute} is unknown: the system has no attribute {attribute!r}.")
        part = getattr(part, name)
    if isinstance(part, nn.Module):
        return part.parameters()
    if isinstance(part, nn.Parameter):
        return [part]
    raise UserError(f"optimizer.params.{attribute} is a {type(part).__name__}; accepted: modules and parameters.")


def _scheduler(config: dict, optimizer: torch.optim.Optimizer) -> Any:
    name = config.get("name")
    scheduler = getattr(lr_scheduler, {"Sequential": "SequentialLR"}.get(str(name), str(name)), None)
    if not isinstance(scheduler, type):
        raise UserError(
            f"scheduler.name={name!r} is unknown; accepted: ExponentialLR and others of torch.optim.lr_scheduler."
        )
    try:
        if "schedulers" not in config:
            return scheduler(optimizer, **(config.get("args") or {}))
        parts = [_scheduler(part, optimizer) for part in config["schedulers"]]
        if scheduler is lr_scheduler.SequentialLR:
            return scheduler(optimizer, parts, milestones=config.get("milestones") or [])
        return scheduler(parts)
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"scheduler={config!r} is not accepted by {name}: {error}.") from error
