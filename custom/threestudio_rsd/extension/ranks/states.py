"""Checkpoints of runs on several ranks: they equal those of one rank, and load on any number of ranks.

A rank's state dict has the names of its own particles, `geometry.particles.5.weight` or the rows of `particles`, and of
all that the particles share.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from ...particles.finite_updates import ROWS
from ...particles.ranks import Shard, gather_objects

# In the name of a parameter: prefix, index of the particle, rest
OF_PARTICLE = re.compile(r"(?P<prefix>(?:.*\.)?particles\.)(?P<index>\d+)\.(?P<rest>.+)")
HELD = re.compile(r"(.*\.)?held_(force|target)\._extra_state")  # states whose tensors have rows of all particles


def is_shared(name: str) -> bool:
    """Whether a parameter, buffer or state belongs to no single particle."""
    return name != ROWS and not OF_PARTICLE.fullmatch(name) and not HELD.fullmatch(name)


def own_state(state: dict[str, Any], shard: Shard) -> dict[str, Any]:
    """This rank's part of a state dict of all particles."""
    own = {}
    for name, value in state.items():
        found = OF_PARTICLE.fullmatch(name)
        if found and int(found["index"]) not in shard.indices:
            continue
        own[name] = value if found or is_shared(name) else _own_rows(value, shard)
    return own


def merged_state(state: dict[str, Any], shard: Shard) -> dict[str, Any]:
    """State dict of all particles on rank 0, from those of the ranks; on other ranks that of the rank."""
    parts = gather_objects({name: _on_cpu(value) for name, value in state.items() if not is_shared(name)})
    if parts is None:
        return state
    merged = {name: value for name, value in state.items() if is_shared(name)}
    for part in parts:
        merged |= {name: value for name, value in part.items() if OF_PARTICLE.fullmatch(name)}
    rows = [name for name in parts[0] if not OF_PARTICLE.fullmatch(name)]
    return merged | {name: _all_rows([part[name] for part in parts]) for name in rows}


def own_optimizer_state(state: dict[str, Any], names: Sequence[Sequence[str]], shard: Shard) -> dict[str, Any]:
    """This rank's part of an optimizer's state of all particles.

    Args:
        state: result of `state_dict` of an optimizer.
        names: names of this rank's parameters in each group.
        shard: particles of this rank.
    """
    own: dict[int, Any] = {}
    for index, (place, name) in enumerate(_places(names, shard)):
        if place in state["state"]:
            of_parameter = state["state"][place]
            own[index] = _own_rows(of_parameter, shard) if name == ROWS else of_parameter
    groups, first = [], 0
    for group, members in zip(state["param_groups"], names, strict=True):
        groups.append({**group, "params": list(range(first, first + len(members)))})
        first += len(members)
    return {**state, "state": own, "param_groups": groups}


def merged_optimizer_state(state: dict[str, Any], names: Sequence[Sequence[str]], shard: Shard) -> dict[str, Any]:
    """State of an optimizer of all particles on rank 0, from those of the ranks; on other ranks that of the rank.

    Args:
        state: result of `state_dict` of an optimizer.
        names: names of this rank's parameters in each group.
        shard: particles of this rank.
    """
    places = list(_places(names, shard))
    parts = gather_objects({place: (name, _on_cpu(state["state"].get(i))) for i, (place, name) in enumerate(places)})
    if parts is None:
        return state
    merged: dict[int, Any] = {}
    for place in sorted({place for part in parts for place in part}):
        found = [part[place] for part in parts if place in part]
        name, of_parameter = found[0]
        if of_parameter is not None:
            merged[place] = _all_rows([each for _, each in found]) if name == ROWS else of_parameter
    groups, first = [], 0
    for group, members in zip(state["param_groups"], names, strict=True):
        count = len(_names_of_all(members, shard.total))
        groups.append({**group, "params": list(range(first, first + count))})
        first += count
    return {**state, "state": merged, "param_groups": groups}


def _places(names: Sequence[Sequence[str]], shard: Shard) -> Iterator[tuple[int, str]]:
    """Index in the optimizer of one rank, and name, of each of this rank's parameters, in order."""
    first = 0
    for members in names:
        of_all = _names_of_all(members, shard.total)
        place = {name: first + index for index, name in enumerate(of_all)}
        yield from ((place[name], name) for name in members)
        first += len(of_all)


def _names_of_all(names: Sequence[str], total: int) -> list[str]:
    """Names of the parameters of all particles in the order of one rank, from those of one rank's particles."""
    rests: dict[str, list[str]] = {}  # names within a particle by prefix, or nothing for a shared name
    for name in names:
        found = OF_PARTICLE.fullmatch(name)
        known = rests.setdefault(found["prefix"] if found else name, [])
        if found and found["rest"] not in known:
            known.append(found["rest"])
    return [
        f"{prefix}{index}.{rest}" if rest else prefix
        for prefix, known in rests.items()
        for index in range(total if known else 1)
        for rest in known or [""]
    ]


def _own_rows(value: Any, shard: Shard) -> Any:
    """This rank's rows of the tensors of a state; a particle may have several rows."""
    if isinstance(value, dict):
        return {key: _own_rows(each, shard) for key, each in value.items()}
    if not isinstance(value, Tensor) or value.ndim == 0:
        return value
    rows = shard.views(len(value) // shard.total).rows
    return value[rows].clone()


def _all_rows(values: Sequence[Any]) -> Any:
    """Rows of all ranks in one tensor, for each tensor of a state."""
    first = values[0]
    if isinstance(first, dict):
        return {key: _all_rows([value[key] for value in values]) for key in first}
    return torch.cat(list(values)) if isinstance(first, Tensor) and first.ndim else first


def _on_cpu(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _on_cpu(each) for key, each in value.items()}
    return value.detach().cpu() if isinstance(value, Tensor) else value
