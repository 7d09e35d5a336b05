"""A force that is used for several steps, and repulsion between renders."""

import torch
from threestudio_rsd.distillation import SDS, HeldForce, RepulsiveDistillation
from threestudio_rsd.priors import GaussianMixturePrior
from threestudio_rsd.repulsion import RepulsiveForce


def mixture() -> GaussianMixturePrior:
    return GaussianMixturePrior(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]), torch.full((2,), 0.1), torch.ones(2))


def test_gradient_with_a_held_force_is_the_sum_of_its_parts() -> None:
    prior, force = mixture(), RepulsiveForce("euclidean")
    x, noise, held = torch.randn(3, 4, 2)
    base = RepulsiveDistillation(SDS(prior))(x, 500, noise, prior.embed())
    result = RepulsiveDistillation(SDS(prior), force)(x, 500, noise, prior.embed(), gamma=3.0, force=held)
    expected = base.gradient + prior.sigma(500) ** 2 * 3.0 * prior.sigma(500) * held
    torch.testing.assert_close(result.gradient, expected)
    assert result.force is held


def test_held_force_runs_no_network() -> None:
    def fail(x: torch.Tensor) -> torch.Tensor:
        raise AssertionError

    prior = mixture()
    x, noise, held = torch.randn(3, 4, 2)
    RepulsiveDistillation(SDS(prior), RepulsiveForce(fail))(x, 500, noise, prior.embed(), gamma=3.0, force=held)


def test_force_is_due_every_few_steps_and_where_none_was_computed() -> None:
    held = HeldForce(3)
    due = []
    for step in range(8):
        if held.at(step, "cpu") is None:
            due.append(step)
            held.update(step, None if step == 3 else torch.full((1,), float(step)))  # in step 3 no force acts
    assert due == [0, 3, 4, 7]
    assert float(held.force) == 7.0


def test_checkpoint_continues_with_the_held_force() -> None:
    held, resumed = HeldForce(4), HeldForce(4)
    held.update(2, torch.ones(2))
    resumed.load_state_dict(held.state_dict())
    assert torch.equal(resumed.at(5, "cpu"), held.at(5, "cpu"))
    assert resumed.at(6, "cpu") is None


def test_repulsion_of_renders_is_the_scaled_force() -> None:
    prior, force = mixture(), RepulsiveForce("euclidean")
    distillation = RepulsiveDistillation(SDS(prior), force, "clean")
    images = torch.rand(6, 3, 4, 4)
    gradient, of_views = distillation.repulsion_gradient(images, 300, 2.0, views_per_particle=2)
    torch.testing.assert_close(gradient, prior.sigma(300) ** 3 * 2.0 * of_views)
    torch.testing.assert_close(of_views[0::2], force(images[0::2]))
    assert distillation.repulsion_gradient(images, 300, 0.0) is None
