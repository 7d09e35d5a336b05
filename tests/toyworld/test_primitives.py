"""Closed-form hits and normals against ray marching."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from threestudio_rsd.toyworld.primitives import FAR, Surface

SAMPLES = 2000


def _ellipsoid(surface: Surface) -> None:
    surface.ellipsoid(0, (0.1, -0.2, 0.3), (0.5, 0.7, 0.4))


def _inside_ellipsoid(x, y, z):
    return ((x - 0.1) / 0.5) ** 2 + ((y + 0.2) / 0.7) ** 2 + ((z - 0.3) / 0.4) ** 2 <= 1


def _cone(surface: Surface) -> None:
    surface.cone(0, (-0.4, 0.5), (0.6, 0.2), center=(0.1, 0.0, -0.1), axis=0)


def _inside_cone(x, y, z):
    along = x - 0.1
    radius = 0.6 + (0.2 - 0.6) * (along + 0.4) / 0.9
    return (along >= -0.4) & (along <= 0.5) & (y**2 + (z + 0.1) ** 2 <= radius**2)


def _box(surface: Surface) -> None:
    surface.box(0, (-0.5, -0.3, -0.2), (0.4, 0.6, 0.7))


def _inside_box(x, y, z):
    return (x >= -0.5) & (x <= 0.4) & (y >= -0.3) & (y <= 0.6) & (z >= -0.2) & (z <= 0.7)


BODIES = {"ellipsoid": (_ellipsoid, _inside_ellipsoid), "cone": (_cone, _inside_cone), "box": (_box, _inside_box)}


@pytest.mark.parametrize("name", BODIES)
@settings(max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_hits_lie_where_rays_enter_the_primitive(name: str, seed: int) -> None:
    build, inside = BODIES[name]
    generator = torch.Generator().manual_seed(seed)
    origins = torch.nn.functional.normalize(torch.randn(3, 64, generator=generator), dim=0) * 3
    targets = torch.rand(3, 64, generator=generator) * 1.6 - 0.8
    directions = torch.nn.functional.normalize(targets - origins, dim=0)
    surface = Surface(origins, directions)
    build(surface)

    steps = torch.linspace(0, 6, SAMPLES)
    points = origins[..., None] + directions[..., None] * steps
    marched = inside(*points)
    first = torch.where(marched.any(1), steps[marched.int().argmax(1)], torch.tensor(FAR))
    tolerance = 2 * 6 / SAMPLES
    both = (first < FAR) & surface.hit
    assert (surface.distance[both] - first[both]).abs().max() < tolerance if both.any() else True
    # Rays that only graze a body may be seen by one of the two.
    grazing = marched.sum(1) <= 2
    assert (surface.hit == (first < FAR))[~grazing | ~surface.hit].all()


@pytest.mark.parametrize("name", BODIES)
def test_normals_point_outwards(name: str) -> None:
    build, inside = BODIES[name]
    origins = torch.nn.functional.normalize(torch.randn(3, 500), dim=0) * 3
    directions = torch.nn.functional.normalize(torch.rand(3, 500) * 0.6 - 0.3 - origins, dim=0)
    surface = Surface(origins, directions)
    build(surface)
    normal = torch.nn.functional.normalize(surface.normal, dim=0)[:, surface.hit]
    point = (origins + directions * surface.distance)[:, surface.hit]
    assert surface.hit.float().mean() > 0.5
    assert inside(*(point - 1e-3 * normal)).float().mean() > 0.99
    assert not inside(*(point + 1e-3 * normal)).any()


def test_cut_ellipsoid_is_open_below() -> None:
    origins = torch.tensor([[3.0, 3.0], [0.0, 0.0], [0.2, -0.2]])
    directions = torch.tensor([[-1.0, -1.0], [0.0, 0.0], [0.0, 0.0]])
    surface = Surface(origins, directions)
    surface.ellipsoid(0, (0.0, 0.0, 0.0), 1.0, above=0.0)
    assert surface.hit.tolist() == [True, False]


def test_nearest_hit_does_not_depend_on_the_order_of_primitives() -> None:
    for order in ((0, 1), (1, 0)):
        surface = Surface(torch.tensor([[3.0], [0.0], [0.0]]), torch.tensor([[-1.0], [0.0], [0.0]]))
        for material in order:
            surface.ellipsoid(material, (float(material), 0.0, 0.0), 0.5)
        assert surface.material.item() == 1
        assert surface.distance.item() == pytest.approx(1.5)
