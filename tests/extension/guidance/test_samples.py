"""Sample images of a guidance, as threestudio's `prolificdreamer-system` asks for them in its validation."""

import pytest
import torch
from threestudio_rsd.extension.guidance import samples

from .test_guidance import build, prompt_utils


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "STEPS", 2)


def call(function, **options):
    front = torch.zeros(1)
    batch = {"elevation": front, "azimuth": front, "camera_distances": front, "index": front, "height": 64}
    return function(prompt_utils(), **batch, **options)


def test_samples_are_images_that_depend_on_the_seed() -> None:
    guidance = build(gamma=0.0)
    first, again, other = (call(guidance.sample, seed=seed) for seed in (1, 1, 2))
    assert first.shape == (1, 64, 64, 3)
    assert 0 <= first.min() <= first.max() <= 1
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_method_without_a_network_samples_the_prior_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(samples, "warn", warnings.append)
    guidance = build(gamma=0.0)
    assert torch.equal(call(guidance.sample_lora), call(guidance.sample))
    assert "trains no network" in warnings[0]


def test_vsd_samples_its_own_network() -> None:
    guidance = build("repulsive-vsd-guidance", gamma=0.0, vsd_network="unet")
    own = call(guidance.sample_lora)
    assert own.shape == (1, 64, 64, 3)
    assert own.isfinite().all()
    assert not torch.equal(own, call(guidance.sample))
