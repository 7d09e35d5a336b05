"""World-map noise turns with the camera."""

import torch
from threestudio_rsd.distillation import NoiseSource, WorldMapNoise

SHAPE = (4, 16, 16)
MAP = WorldMapNoise(NoiseSource("fixed", seed=1, stream="world_map"), fov=40.0)


def views(azimuths: list[float], elevations: list[float] | None = None, n_particles: int = 1) -> torch.Tensor:
    azimuth = torch.tensor(azimuths)
    elevation = torch.tensor(elevations or [15.0] * len(azimuths))
    return MAP(0, n_particles, SHAPE, azimuth, elevation)


def test_a_camera_that_turns_sees_shifted_noise() -> None:
    degrees = 5 * 40.0 / 16  # five pixels
    first, second = views([30.0, 30.0 + degrees])
    assert torch.equal(first[..., 5:], second[..., :-5])
    low, high = views([30.0, 30.0], [10.0, 10.0 + degrees])
    assert torch.equal(high[:, 5:], low[:, :-5])


def test_it_wraps_around() -> None:
    first, second = views([-3.0, 357.0])
    assert torch.equal(first, second)


def test_opposite_cameras_see_independent_standard_normal_noise() -> None:
    front, back = views([0.0, 180.0])
    assert abs(float((front * back).mean())) < 0.1
    assert abs(float(front.std()) - 1) < 0.1


def test_particles_have_maps_of_their_own() -> None:
    first, second, third, fourth = views([0.0, 90.0, 0.0, 90.0], n_particles=2)
    assert not torch.equal(first, third)
    assert not torch.equal(second, fourth)
    assert torch.equal(views([0.0, 90.0])[0], first), "particle 0 does not depend on N"


def test_transparent_pixels_take_the_constant_noise() -> None:
    opacity = torch.zeros(1, 1, 64, 64)
    opacity[..., :32] = 1.0
    constant = torch.full((1, *SHAPE), 7.0)
    noise = WorldMapNoise(NoiseSource("fixed", stream="world_map"))(
        0, 1, SHAPE, torch.tensor([0.0]), torch.tensor([0.0]), constant, opacity
    )
    assert (noise[..., 8:] == 7.0).all()
    assert not (noise[..., :8] == 7.0).any()
