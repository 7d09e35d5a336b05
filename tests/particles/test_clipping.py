"""Gradient clipping for each particle on its own."""

import torch
from threestudio_rsd.particles.clipping import clip_particle_gradients, clip_row_gradients
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


def test_rows_are_clipped_like_parameters_of_their_own():
    torch.manual_seed(0)
    gradient = torch.tensor([1.0, 1e4, 1e-4])[:, None, None] * torch.randn(3, 2, 4)
    rows, parameters = nn.Parameter(torch.zeros(3, 2, 4)), [nn.Parameter(torch.zeros(2, 4)) for _ in range(3)]
    rows.grad = gradient.clone()
    norms = clip_row_gradients(rows, 0.5)
    for i, parameter in enumerate(parameters):
        parameter.grad = gradient[i].clone()
        norm = nn.utils.clip_grad_norm_([parameter], 0.5)
        torch.testing.assert_close(norms[i], norm)
        torch.testing.assert_close(rows.grad[i], parameter.grad)
    assert torch.equal(rows.grad[2], gradient[2])
