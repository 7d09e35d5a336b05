"""Losses on renders: equal to threestudio's for one particle, summed over several."""

import math

import pytest
import torch
from threestudio_rsd.errors import UserError
from threestudio_rsd.extension.systems.render_losses import (
    opacity_loss,
    orientation_loss,
    sparsity_loss,
    z_variance_loss,
)

LOSSES = (orientation_loss, sparsity_loss, opacity_loss, z_variance_loss)


def render(seed: int, views: int = 2) -> dict:
    """Output of a renderer for `views` views of 3 x 4 rays, four samples a ray."""
    generator = torch.Generator().manual_seed(seed)
    rays = views * 12
    samples = rays * 4

    def random(*shape):
        return torch.rand(*shape, generator=generator)

    return {
        "weights": random(samples, 1).requires_grad_(),
        "normal": torch.nn.functional.normalize(random(samples, 3) * 2 - 1, dim=-1).requires_grad_(),
        "t_dirs": torch.nn.functional.normalize(random(samples, 3) * 2 - 1, dim=-1),
        "ray_indices": torch.arange(rays).repeat_interleave(4),
        "opacity": (random(views, 3, 4, 1) * (random(views, 3, 4, 1) > 0.3)).requires_grad_(),
        "z_variance": random(views, 3, 4, 1).requires_grad_(),
    }


def together(parts: list[dict]) -> dict:
    """The same particles as one batch, particle-major."""
    out = {name: torch.cat([part[name] for part in parts]) for name in parts[0] if name != "ray_indices"}
    rays = parts[0]["opacity"].numel()
    return out | {"ray_indices": torch.cat([part["ray_indices"] + i * rays for i, part in enumerate(parts)])}


def test_losses_equal_known_values():
    half = {"opacity": torch.full((1, 2, 2, 1), 0.5)}
    assert sparsity_loss(half) == pytest.approx(math.sqrt(0.26))
    assert opacity_loss(half) == pytest.approx(math.log(2))
    # Two of the four rays are visible; one sample of weight 0.5 looks away under 60 degrees.
    out = {
        "opacity": torch.tensor([0.0, 0.2, 0.0, 0.9]).reshape(1, 2, 2, 1),
        "z_variance": torch.tensor([float("nan"), 9.0, 1.0, 3.0]).reshape(1, 2, 2, 1),
        "weights": torch.tensor([[0.5], [0.7]]),
        "normal": torch.tensor([[0.5, 0.0, math.sqrt(0.75)], [-1.0, 0.0, 0.0]]),
        "t_dirs": torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]),
    }
    assert orientation_loss(out) == pytest.approx(0.5 * 0.25 / 2)
    assert z_variance_loss(out) == pytest.approx(3.0)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_particles_gradient_does_not_depend_on_the_others(loss):
    names = ("weights", "normal", "opacity", "z_variance")
    alone = [render(seed) for seed in range(3)]
    for part in alone:
        loss(part).backward()
    crowd = [render(seed) for seed in range(3)]
    loss(together(crowd), n=3).backward()
    for one, other in zip(alone, crowd, strict=True):
        for name in names:
            assert (one[name].grad is None) == (other[name].grad is None)
            if one[name].grad is not None:
                torch.testing.assert_close(one[name].grad, other[name].grad)


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_of_empty_renders_are_finite(loss):
    out = render(0)
    out["opacity"] = torch.zeros_like(out["opacity"])
    assert torch.isfinite(loss(out))


def test_orientation_loss_has_no_gradient_for_the_sample_weights():
    out = render(1)
    orientation_loss(out).backward()
    assert out["weights"].grad is None
    assert out["normal"].grad.abs().sum() > 0


def test_missing_normals_raise_user_error():
    with pytest.raises(UserError, match="lambda_orient"):
        orientation_loss({"opacity": torch.ones(1, 1, 1, 1)})
