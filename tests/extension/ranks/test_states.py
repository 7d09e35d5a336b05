"""Checkpoints of several ranks equal those of one, and load on any number of ranks."""

from types import SimpleNamespace

import pytest
import torch
from threestudio_rsd.extension.ranks import states
from threestudio_rsd.particles.ranks import Shard
from torch import nn

N = 3


class Model(nn.Module):
    """Rows of particles, modules of particles, and a network that they share."""

    def __init__(self, indices):
        super().__init__()
        values = torch.arange(N * 2.0).reshape(N, 2)
        self.particles = nn.Parameter(values[list(indices)])
        self.geometry = self.part(indices, 1)
        self.guidance = nn.Linear(1, 1)
        self.guidance.held_force = nn.Identity()
        self.material = self.part(indices, 2)
        with torch.no_grad():
            for parameter in self.guidance.parameters():
                parameter.fill_(0.5)

    @staticmethod
    def part(indices, size):
        part = nn.Module()
        part.particles = nn.ModuleDict({str(index): nn.Linear(1, size) for index in indices})
        for index, each in part.particles.items():
            for parameter in each.parameters():
                nn.init.constant_(parameter, float(index) + size)
        return part

    def names(self, groups):
        known = {id(each): name for name, each in self.named_parameters()}
        return [[known[id(each)] for each in group["params"]] for group in groups]


def trained(indices):
    """A model and its optimizer after a step, whose gradients depend on the values."""
    model = Model(indices)
    groups = [
        {"params": [model.particles], "name": "particles"},
        {"params": list(model.geometry.parameters()), "name": "geometry"},
        {"params": [*model.material.parameters(), *model.guidance.parameters()], "name": "rest", "lr": 0.2},
    ]
    optimizer = torch.optim.Adam(groups, lr=0.1)
    sum(each.square().sum() for each in model.parameters()).backward()
    optimizer.step()
    state = model.state_dict()
    rows = torch.tensor([[float(index)] for index in indices])
    state["guidance.held_force._extra_state"] = {"step": 4, "force": rows}
    return SimpleNamespace(
        state=state, optimizer=optimizer.state_dict(), names=model.names(optimizer.param_groups), model=model
    )


def merged(monkeypatch, function, calls):
    """Result on rank 0 of a function that all ranks call, whose objects are gathered by hand."""
    sent = []
    monkeypatch.setattr(states, "gather_objects", sent.append)
    for call in calls:
        function(*call)
    monkeypatch.setattr(states, "gather_objects", lambda value: sent)
    return function(*calls[0])


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for key, value in one.items():
        if isinstance(value, dict):
            assert_equal(value, other[key])
        elif isinstance(value, torch.Tensor):
            assert torch.equal(value, other[key]), key
        else:
            assert value == other[key], key


@pytest.mark.parametrize("n_ranks", [2, 3])
def test_merged_states_are_those_of_one_rank(monkeypatch, n_ranks):
    whole = trained(range(N))
    shards = [Shard.of(N, rank, n_ranks) for rank in range(n_ranks)]
    ranks = [trained(shard.indices) for shard in shards]
    calls = [(each.state, shard) for each, shard in zip(ranks, shards, strict=True)]
    assert_equal(merged(monkeypatch, states.merged_state, calls), whole.state)
    calls = [(each.optimizer, each.names, shard) for each, shard in zip(ranks, shards, strict=True)]
    assert_equal(merged(monkeypatch, states.merged_optimizer_state, calls), whole.optimizer)


@pytest.mark.parametrize("n_ranks", [2, 3])
def test_a_rank_takes_its_part(n_ranks):
    whole = trained(range(N))
    for rank in range(n_ranks):
        shard = Shard.of(N, rank, n_ranks)
        own = trained(shard.indices)
        assert_equal(states.own_state(whole.state, shard), own.state)
        found = states.own_optimizer_state(whole.optimizer, own.names, shard)
        assert_equal(found, own.optimizer)
        torch.optim.Adam([{"params": group["params"]} for group in groups_of(own)]).load_state_dict(found)


def groups_of(own):
    known = dict(own.model.named_parameters())
    return [{"params": [known[name] for name in names]} for names in own.names]
