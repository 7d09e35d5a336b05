"""Rendering N particles at once equals rendering them one after the other."""

import pytest
import torch
from threestudio_rsd.errors import UserError
from threestudio_rsd.extension import ensembles  # noqa: F401 registers them
from threestudio_rsd.host import find, joint_rendering
from threestudio_rsd.particles.randomness import ParticleStreams
from threestudio_rsd.particles.recomputing import recomputed

ENCODINGS = {
    "hash grid": {"otype": "HashGrid", "n_levels": 3, "log2_hashmap_size": 8, "base_resolution": 4},
    "frequency": {"otype": "ProgressiveBandFrequency", "n_frequencies": 3, "n_masking_step": 100},
}
MATERIALS = {
    "none": ("no-material", {"n_output_dims": 3, "color_activation": "sigmoid"}, None),
    "lit": (
        "diffuse-with-point-light-material",
        {"ambient_only_steps": 0, "diffuse_prob": 1.0, "textureless_prob": 0.0},
        "analytic",
    ),
}


def make(n, encoding, material="none", batched=None, **renderer):
    particle_type, particle, normal_type = MATERIALS[material]
    wrap = {"n_particles": n}
    geometry = {
        "normal_type": normal_type,
        "density_bias": "blob_magic3d",
        "pos_encoding_config": ENCODINGS[encoding],
        "mlp_network_config": {"otype": "VanillaMLP", "activation": "ReLU", "n_neurons": 8, "n_hidden_layers": 1},
    }
    torch.manual_seed(0)
    parts = {
        "geometry": find("particles-geometry")({**wrap, "particle_type": "implicit-volume", "particle": geometry}),
        "material": find("particles-material")({**wrap, "particle_type": particle_type, "particle": particle}),
        "background": find("particles-background")({**wrap, "particle_type": "solid-color-background"}),
    }
    inner = {"num_samples_per_ray": 24, **renderer}
    config = {"particle_type": "nerf-volume-renderer", "particle": inner, "batched": batched}
    made = find("particles-renderer")(config, **parts)
    with torch.no_grad():  # particles of different shapes, so of different numbers of samples
        for parameter in made.geometry.parameters():
            parameter.add_(torch.randn_like(parameter))
    for particle in made.particles:
        particle.update_step(0, 0)
    return made


def cameras(n, v=2, size=8):
    generator = torch.Generator().manual_seed(1)
    origins = torch.nn.functional.normalize(torch.randn(v, 3, generator=generator), dim=-1) * 2
    targets = torch.randn(v, size, size, 3, generator=generator) * 0.4
    directions = torch.nn.functional.normalize(targets - origins[:, None, None], dim=-1)
    batch = {"rays_o": origins[:, None, None].expand_as(targets), "rays_d": directions, "light_positions": origins}
    return {name: value.repeat(n, *[1] * (value.ndim - 1)) for name, value in batch.items()}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("material", MATERIALS)
def test_together_equals_one_after_the_other(encoding, material):
    n = 3
    results = []
    for batched in (True, False):
        renderer = make(n, encoding, material, batched, randomized=False)
        out = renderer(**cameras(n))
        (out["comp_rgb"].square().sum() + out["opacity"].sum()).backward()
        gradients = [parameter.grad for parameter in renderer.geometry.parameters()]
        results.append((out, gradients))
    (together, gradients), (alone, expected) = results
    assert set(together) == set(alone)
    for name in alone:
        torch.testing.assert_close(together[name], alone[name], rtol=1e-4, atol=1e-5)
    assert any(gradient.abs().sum() > 0 for gradient in expected)
    for one, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_random_starts_are_those_of_the_loop():
    images = []
    for batched in (True, False):
        renderer = make(2, "hash grid", batched=batched)
        torch.manual_seed(5)
        images.append(renderer(**cameras(2))["comp_rgb"])
    torch.testing.assert_close(images[0], images[1], rtol=1e-4, atol=1e-5)


def test_empty_particles_are_rendered_and_differentiated():
    renderer = make(2, "frequency", batched=True)
    for particle in renderer.particles:
        particle.estimator.binaries.zero_()
    out = renderer(**cameras(2))
    assert float(out["opacity"].detach().abs().max()) == 0
    out["comp_rgb"].sum().backward()
    gradients = [parameter.grad for parameter in renderer.geometry.parameters()]
    assert all(gradient is None or gradient.isfinite().all() for gradient in gradients)


def test_evaluation_and_other_renderers_go_one_by_one():
    renderer = make(2, "frequency")
    assert joint_rendering.can_render_together(renderer.particles)
    renderer.eval()
    assert not joint_rendering.can_render_together(renderer.particles)


def test_unsupported_batching_is_an_error():
    renderer = make(2, "frequency", batched=True, return_comp_normal=True)
    with pytest.raises(UserError, match=r"system\.renderer\.batched=true"):
        renderer(**cameras(2))


def gradients(made):
    return [parameter.grad for parameter in made.geometry.parameters()]


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("by_particle", [None, True])
def test_renders_that_are_computed_again_equal_the_whole(batched, by_particle):
    """Deferred back-propagation in chunks of two of three particles: same images and gradients, same random numbers."""
    results = []
    for size in (None, 2):
        made = make(3, "frequency", "lit", batched)
        if by_particle:
            made.particles.streams = ParticleStreams(0, "render")
        batch = cameras(3)
        torch.manual_seed(5)
        if size is None:
            image = made(**batch)["comp_rgb"]
        else:
            anchor = torch.zeros((), requires_grad=True)
            chunks = made.in_chunks(batch, size)
            image = torch.cat([recomputed(lambda _, render=render: render()["comp_rgb"], anchor) for render in chunks])
        after = torch.rand(())
        image.square().sum().backward()
        results.append((image, gradients(made), after))
    (image, expected, after), (chunked, found, after_chunks) = results
    assert after == after_chunks
    torch.testing.assert_close(chunked, image, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
    if not batched:
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_groups_equal_one_call(monkeypatch):
    made, batch = make(3, "frequency", batched=True), cameras(3)
    torch.manual_seed(5)
    whole = made(**batch)
    monkeypatch.setattr(joint_rendering, "FASTEST_ON_CPU", 1)
    monkeypatch.setattr(joint_rendering, "RAYS_ON_CPU", 2 * 2 * 8 * 8)  # two particles
    torch.manual_seed(5)
    grouped = made(**batch)
    assert whole.keys() == grouped.keys()
    for name, value in whole.items():
        torch.testing.assert_close(grouped[name], value, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.slow
def test_grids_are_updated_together():
    for step in (0, 256):  # all cells, and some of them
        grids = []
        for batched in (False, True):
            made = make(3, "frequency", batched=batched)
            torch.manual_seed(7)
            made.do_update_step(0, step)
            grids.append(torch.stack([particle.estimator.occs for particle in made.particles]))
        torch.testing.assert_close(*grids)
