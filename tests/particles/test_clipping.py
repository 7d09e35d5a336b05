"""Gradient clipping for each particle on its own."""

import torch
from threestudio_rsd.particles.clipping import clip_particle_gradients
from torch import nn


def make_particles():
    particles = [nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)) for _ in range(3)]
    for scale, particle in zip((1.0, 1e4, 1e-4), particles, strict=True):
        (scale * particle(torch.ones(4, 2)).sum()).backward()
    return particles


def gradients(particle):
    return torch.cat([parameter.grad.flatten() for parameter in particle.parameters()])


def test_equals_torch_clipping_of_each_particle():
    torch.manual_seed(0)
    clipped = make_particles()
    torch.manual_seed(0)
    expected = make_particles()
    norms = clip_particle_gradients(clipped, 0.5)
    for particle, other, norm in zip(clipped, expected, norms, strict=True):
        assert torch.equal(nn.utils.clip_grad_norm_(other.parameters(), 0.5), norm)
        assert torch.equal(gradients(particle), gradients(other))


def test_a_large_gradient_does_not_scale_the_others():
    particles = make_particles()
    before = gradients(particles[2]).clone()
    clip_particle_gradients(particles, 0.5)
    assert torch.equal(gradients(particles[2]), before)
    torch.testing.assert_close(gradients(particles[1]).norm(), torch.tensor(0.5))


def test_particles_without_gradient_are_accepted():
    clip_particle_gradients([nn.Linear(1, 1), nn.Identity()], 1.0)
