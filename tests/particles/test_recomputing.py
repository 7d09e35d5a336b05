"""Gradients of parts that are computed again in the backward pass."""

import random

import numpy as np
import pytest
import torch
from threestudio_rsd.particles.randomness import ParticleStreams
from threestudio_rsd.particles.recomputing import SameRandomNumbers, in_chunks, recomputed


@pytest.mark.parametrize("size", [1, 2, 5, None])
def test_chunks_equal_the_whole(size):
    torch.manual_seed(0)
    layer, x = torch.nn.Linear(3, 3), torch.randn(5, 3, requires_grad=True)
    expected = torch.autograd.grad(layer(x).tanh().square().sum(), [x, layer.weight])
    in_chunks(lambda rows: layer(rows).tanh(), x, size).square().sum().backward()
    torch.testing.assert_close([x.grad, layer.weight.grad], list(expected))


def draw():
    return float(torch.rand(())), random.random(), float(np.random.rand())


def test_later_calls_repeat_the_random_numbers_and_leave_those_of_the_run():
    torch.manual_seed(0)
    function = SameRandomNumbers(draw)
    first, after = function(), draw()
    torch.manual_seed(0)
    assert function() == first
    torch.manual_seed(1)
    expected = torch.rand(())
    torch.manual_seed(1)
    function()
    assert torch.rand(()) == expected
    assert first != after


def test_streams_of_particles_do_not_depend_on_their_order():
    found = {}
    for order in ((0, 1, 0, 1), (1, 1, 0, 0)):
        streams = ParticleStreams(3, "render")
        streams.begin(7)
        draws = {0: [], 1: []}
        for particle in order:
            with streams.of(particle):
                draws[particle].append(draw())
        found[order] = draws
    one, other = found.values()
    assert one == other
    assert len(set(one[0] + one[1])) == 4


def test_streams_are_repeated_too():
    streams = ParticleStreams(0, "render")

    def function():
        with streams.of(2):
            return draw()

    repeated = SameRandomNumbers(function, streams)
    first, second = repeated(), function()
    assert repeated() == first
    assert function() not in (first, second)  # continues where it was


def test_recomputed_parameters_get_their_gradients():
    weight, anchor = torch.nn.Parameter(torch.tensor(2.0)), torch.zeros((), requires_grad=True)
    calls = []
    result = recomputed(lambda anchor: (calls.append(0), weight**3)[1], anchor)
    assert len(calls) == 1
    result.backward()
    assert len(calls) == 2
    assert weight.grad == 12
