"""Several optimizers as one."""

import copy

import pytest
import torch
from threestudio_rsd.particles.joint_optimizer import JointOptimizer
from torch import nn


def make(seed=0):
    torch.manual_seed(seed)
    layers = [nn.Linear(2, 1), nn.Linear(2, 1)]
    optimizers = [torch.optim.Adam(layers[0].parameters(), lr=0.1), torch.optim.SGD(layers[1].parameters(), lr=0.5)]
    return layers, optimizers


def steps(layers, optimizer, n=3):
    for _ in range(n):
        optimizer.zero_grad()
        sum(layer(torch.ones(1, 2)).square().sum() for layer in layers).backward()
        optimizer.step()


def weights(layers):
    return torch.cat([parameter.detach().flatten() for layer in layers for parameter in layer.parameters()])


def test_steps_equal_those_of_its_optimizers():
    layers, optimizers = make()
    steps(layers, JointOptimizer(optimizers))
    alone, (adam, sgd) = make()
    for _ in range(3):
        adam.zero_grad(), sgd.zero_grad()
        sum(layer(torch.ones(1, 2)).square().sum() for layer in alone).backward()
        adam.step(), sgd.step()
    assert torch.equal(weights(layers), weights(alone))


def test_parameter_groups_are_shared():
    _, optimizers = make()
    joint = JointOptimizer(optimizers)
    joint.param_groups[1]["lr"] = 0.25
    assert optimizers[1].param_groups[0]["lr"] == 0.25


def test_a_closure_is_called_once():
    _layers, optimizers = make()
    calls = []
    assert JointOptimizer(optimizers).step(lambda: calls.append(1) or 7.0) == 7.0
    assert calls == [1]


def test_a_restored_state_continues_identically():
    layers, optimizers = make()
    joint = JointOptimizer(optimizers)
    steps(layers, joint)
    state, values = copy.deepcopy(joint.state_dict()), weights(layers)
    others, other_optimizers = make(1)
    nn.utils.vector_to_parameters(values, nn.ModuleList(others).parameters())
    other = JointOptimizer(other_optimizers)
    other.load_state_dict(state)
    assert other.param_groups[0] is other_optimizers[0].param_groups[0]
    steps(layers, joint)
    steps(others, other)
    assert torch.equal(weights(layers), weights(others))


def test_a_state_from_the_cpu_returns_to_the_device_of_the_parameters():
    layers, optimizers = make()
    joint = JointOptimizer(optimizers)
    steps(layers, joint)
    moved = nn.Linear(2, 1).to("meta")
    other = JointOptimizer([torch.optim.Adam(moved.parameters(), lr=0.1)])
    other.load_state_dict({"optimizers": joint.state_dict()["optimizers"][:1]})
    (adam,) = other.optimizers
    assert all(adam.state[each]["exp_avg"].device.type == "meta" for each in moved.parameters())


def test_a_state_of_another_number_of_optimizers_raises():
    _, optimizers = make()
    with pytest.raises(ValueError, match="zip"):
        JointOptimizer(optimizers[:1]).load_state_dict(JointOptimizer(optimizers).state_dict())
