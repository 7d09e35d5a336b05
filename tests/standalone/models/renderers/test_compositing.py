"""Volume rendering of packed samples against a loop over rays, closed forms and double precision."""

import math

import pytest
import torch
from threestudio_rsd.standalone.models.renderers.compositing import (
    accumulate,
    composite,
    exclusive_sum,
    rendering_weights,
)

COUNTS = [3, 0, 1, 7, 0]  # samples of each ray


def packed(counts=COUNTS, seed=0, dtype=torch.float32):
    """Random samples: t_starts, t_ends, densities, ray_indices."""
    generator = torch.Generator().manual_seed(seed)
    ray_indices = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    edges = [torch.rand(count, 2, generator=generator, dtype=dtype).sort(0)[0] for count in counts]
    t_starts, lengths = torch.cat(edges).unbind(1)
    densities = torch.rand(len(ray_indices), generator=generator, dtype=dtype) * 5
    return t_starts, t_starts + lengths, densities, ray_indices


def weights_by_loop(t_starts, t_ends, densities, ray_indices):
    """Slow reference of `rendering_weights`, sample by sample."""
    weights = []
    for ray in ray_indices.unique():
        transmittance = torch.ones((), dtype=densities.dtype)
        for i in (ray_indices == ray).nonzero()[:, 0]:
            alpha = 1 - torch.exp(-densities[i] * (t_ends[i] - t_starts[i]))
            weights.append(transmittance * alpha)
            transmittance = transmittance * (1 - alpha)
    return torch.stack(weights)


def test_exclusive_sum_counts_what_lies_before_on_the_same_ray():
    values = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0])
    assert exclusive_sum(values, torch.tensor([0, 0, 0, 2, 2]), 4).tolist() == [0, 1, 3, 0, 8]
    assert exclusive_sum(values[:0], torch.zeros(0, dtype=torch.long), 4).tolist() == []
    assert exclusive_sum(values[:0], torch.zeros(0, dtype=torch.long), 0).tolist() == []


def test_exclusive_sum_is_not_disturbed_by_other_rays():
    values = torch.tensor([1e9, 1e-6, 1e-6, math.inf, 1e-6, 1e-6])
    sums = exclusive_sum(values, torch.tensor([0, 1, 1, 2, 3, 3]), 4)
    assert torch.equal(sums, torch.tensor([0, 0, 1e-6, 0, 0, 1e-6]))


def test_weights_equal_the_loop_over_samples():
    samples = packed()
    weights, transmittance, alpha = rendering_weights(*samples, len(COUNTS))
    torch.testing.assert_close(weights, weights_by_loop(*samples))
    assert torch.equal(weights, transmittance * alpha)


def test_gradients_equal_those_of_the_loop():
    t_starts, t_ends, densities, ray_indices = packed(dtype=torch.float64)
    colors = torch.rand(len(densities), 3, dtype=torch.float64)
    gradients = []
    for compute in (lambda *samples: rendering_weights(*samples, len(COUNTS))[0], weights_by_loop):
        leaf = densities.clone().requires_grad_()
        color = accumulate(compute(t_starts, t_ends, leaf, ray_indices), colors, ray_indices, len(COUNTS))
        gradients.append(torch.autograd.grad((color**2).sum(), leaf)[0])
    torch.testing.assert_close(*gradients)


def test_gradients_equal_finite_differences():
    t_starts, t_ends, densities, ray_indices = packed([3, 0, 2], dtype=torch.float64)
    colors = torch.rand(5, 3, dtype=torch.float64, requires_grad=True)
    t_points = ((t_starts + t_ends) / 2)[:, None]

    def pixels(densities, colors):
        weights, _, _ = rendering_weights(t_starts, t_ends, densities, ray_indices, 3)
        out = composite(weights, t_points, colors, ray_indices, 3)
        return out.rgb, out.opacity, out.depth, out.z_variance

    assert torch.autograd.gradcheck(pixels, (densities.requires_grad_(), colors))


def test_single_precision_is_exact_where_a_ray_is_nearly_transparent():
    samples = packed([50], dtype=torch.float64)
    thin = [samples[0], samples[1], samples[2] * 1e-7, samples[3]]
    exact = rendering_weights(*thin, 1)[0]
    single = rendering_weights(*(tensor.float() if tensor.is_floating_point() else tensor for tensor in thin), 1)[0]
    torch.testing.assert_close(single.double(), exact, rtol=1e-5, atol=0)


@pytest.mark.parametrize("density", [0.3, 2.0, 40.0])
def test_a_uniform_slab_has_its_closed_form(density):
    near, far, n = 1.0, 2.5, 4000
    edges = torch.linspace(near, far, n + 1, dtype=torch.float64)
    ray = torch.zeros(n, dtype=torch.long)
    weights, _, _ = rendering_weights(edges[:-1], edges[1:], torch.full((n,), density, dtype=torch.float64), ray, 1)
    t_points = ((edges[:-1] + edges[1:]) / 2)[:, None]
    pixel = composite(weights, t_points, torch.ones(n, 3, dtype=torch.float64), ray, 1)
    opacity = 1 - math.exp(-density * (far - near))
    # Expectation of t where t - near is exponential, cut off at the far end.
    depth = near * opacity + opacity / density - (far - near) * (1 - opacity)
    second = 2 / density**2 * opacity - ((far - near) ** 2 + 2 * (far - near) / density) * (1 - opacity)
    variance = second / opacity - (depth / opacity - near) ** 2
    assert pixel.opacity.item() == pytest.approx(opacity)
    assert pixel.depth.item() == pytest.approx(depth, rel=1e-6)
    assert pixel.rgb[0].tolist() == pytest.approx([opacity] * 3)
    assert pixel.z_variance.item() == pytest.approx(variance if opacity > 0.5 else 0, rel=1e-4)


def test_rays_without_samples_see_nothing():
    t_starts, t_ends, densities, ray_indices = packed()
    weights, _, _ = rendering_weights(t_starts, t_ends, densities, ray_indices, len(COUNTS))
    pixels = composite(weights, t_starts[:, None], torch.rand(len(weights), 3), ray_indices, len(COUNTS))
    for image in (pixels.rgb, pixels.opacity, pixels.depth, pixels.z_variance):
        assert (image[[1, 4]] == 0).all()


def test_rays_of_several_particles_can_be_rendered_at_once():
    parts = [packed(seed=seed) for seed in range(3)]
    n = len(COUNTS)
    together = [torch.cat(tensors) for tensors in zip(*parts, strict=True)]
    together[3] = torch.cat([part[3] + n * i for i, part in enumerate(parts)])
    expected = torch.cat([rendering_weights(*part, n)[0] for part in parts])
    assert torch.equal(rendering_weights(*together, 3 * n)[0], expected)
