"""Distribution of random scenes, and names of the views by threestudio's thresholds."""

import torch
from threestudio_rsd.toyworld import VIEWS, sample_scenes, view_of
from threestudio_rsd.toyworld.world import ATTRIBUTES, OVERHEAD_SHARE


def test_views_have_threestudio_thresholds() -> None:
    cases = [(0, 0, 0), (44, 0, 0), (46, 0, 1), (134, 59, 1), (136, 0, 2), (180, 0, 2), (-180, 0, 2), (0, 61, 3)]
    for azimuth, elevation, view in cases:
        assert view_of(float(azimuth), float(elevation)).item() == view, (azimuth, elevation)
        assert view_of(float(azimuth + 360), float(elevation)).item() == view
        assert view_of(float(-azimuth), float(elevation)).item() == view
    assert VIEWS == ("front view", "side view", "back view", "overhead view")


def test_attributes_are_uniform_and_independent() -> None:
    n = 24_000
    labels = sample_scenes(n, torch.Generator().manual_seed(0)).labels()
    for name in ("class", "color", "accent", "background"):
        share = torch.bincount(labels[name], minlength=ATTRIBUTES[name]) / n
        assert (share * ATTRIBUTES[name] - 1).abs().max() < 0.08, name
    joint = torch.bincount(labels["class"] * 8 + labels["color"], minlength=64) / n
    assert (joint * 64 - 1).abs().max() < 0.2
    view = torch.bincount(labels["view"], minlength=4) / n
    level = 1 - OVERHEAD_SHARE
    expected = torch.tensor([level / 4, level / 2, level / 4, OVERHEAD_SHARE])
    assert (view - expected).abs().max() < 0.01


def test_a_seed_gives_the_same_scenes() -> None:
    first, second = (sample_scenes(16, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(first.camera.azimuth, second.camera.azimuth)
    assert torch.equal(first.color, second.color)
    part = first.select(torch.tensor([3, 5]))
    assert len(part) == 2
    assert part.camera.azimuth[1] == first.camera.azimuth[5]
