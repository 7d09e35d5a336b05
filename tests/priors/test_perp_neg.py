"""Perp-Neg against its formula, written out for each particle."""

import torch
from threestudio_rsd.priors import NoisePredictions, Prior, PromptEmbedding, WeightedNegatives
from threestudio_rsd.priors.perp_neg import perpendicular

SHAPE = (3, 2, 4, 4)


def with_negatives(prior: Prior, weights: torch.Tensor) -> PromptEmbedding:
    """Three particles, each with two negatives of its own."""
    texts = torch.stack([prior.embed(f"a {word}").conditional[0] for word in ("car", "cup", "tree", "house", "star")])
    embedding = prior.embed("a mushroom").expand(3)
    embedding.perp_neg = WeightedNegatives(texts[torch.tensor([[0, 1], [2, 3], [4, 0]])], weights)
    return embedding


def test_perpendicular_component_is_a_projection() -> None:
    x, y = torch.randn(2, *SHAPE, dtype=torch.float64)
    part = perpendicular(x, y)
    torch.testing.assert_close((part * y).flatten(1).sum(1), torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(perpendicular(part, y), part)
    torch.testing.assert_close(perpendicular(2.5 * y, y), torch.zeros_like(y))
    torch.testing.assert_close(perpendicular(x + 3 * y, y), part)


def test_every_vector_is_perpendicular_to_zero() -> None:
    x = torch.randn(SHAPE)
    assert torch.equal(perpendicular(x, torch.zeros_like(x)), x)


def test_guided_noise_matches_the_formula(bundled: Prior) -> None:
    weights = torch.tensor([[-1.5, -0.2], [0.0, -2.0], [-0.7, 0.0]])
    embedding = with_negatives(bundled, weights)
    x, t, w = torch.randn(3, *bundled.latent_shape), 500, 7.5
    guided = bundled.predict_noise(x, t, embedding, w)
    with torch.no_grad():
        for i in range(3):

            def noise(text: torch.Tensor, i: int = i) -> torch.Tensor:
                return bundled.raw_predict(x[i : i + 1], t, text[None])[0]

            free = noise(embedding.negative[i])
            towards = noise(embedding.conditional[i]) - free
            condition = towards.clone()
            for k in range(2):
                away = noise(embedding.perp_neg.values[i, k]) - free
                part = away - towards * torch.dot(away.flatten(), towards.flatten()) / towards.square().sum()
                condition += weights[i, k] * part
            torch.testing.assert_close(guided[i], free + w * condition, rtol=1e-3, atol=1e-4)


def test_weights_of_zero_give_plain_guidance(bundled: Prior) -> None:
    x = torch.randn(3, *bundled.latent_shape)
    steered = bundled.predict_noise(x, 300, with_negatives(bundled, torch.zeros(3, 2)), 7.5)
    plain = bundled.predict_noise(x, 300, bundled.embed("a mushroom"), 7.5)
    torch.testing.assert_close(steered, plain, rtol=1e-4, atol=1e-4)


def test_negatives_act_at_guidance_scale_one(bundled: Prior) -> None:
    x = torch.randn(3, *bundled.latent_shape)
    steered = bundled.predict_noise(x, 500, with_negatives(bundled, -torch.ones(3, 2)), 1.0)
    assert not torch.allclose(steered, bundled.predict_noise(x, 500, bundled.embed("a mushroom"), 1.0), atol=1e-3)


def test_negatives_do_not_change_the_plain_predictions(bundled: Prior) -> None:
    x = torch.randn(3, *bundled.latent_shape)
    steered = bundled.noise_predictions(x, 500, with_negatives(bundled, -torch.ones(3, 2)), negative=True)
    plain = bundled.noise_predictions(x, 500, bundled.embed("a mushroom"), negative=True)
    for name in ("conditional", "unconditional", "negative"):
        torch.testing.assert_close(getattr(steered, name), getattr(plain, name), rtol=1e-4, atol=1e-4)
    assert steered.perp_neg.values.shape == (3, 2, *bundled.latent_shape)
    assert plain.perp_neg is None


def test_negatives_may_have_a_timestep_for_each_particle(bundled: Prior) -> None:
    x, t = torch.randn(3, *bundled.latent_shape), torch.tensor([100, 500, 900])
    embedding = with_negatives(bundled, -torch.ones(3, 2))
    together = bundled.predict_noise(x, t, embedding, 7.5)
    part = PromptEmbedding(
        embedding.conditional[1:2],
        embedding.unconditional[1:2],
        embedding.negative[1:2],
        WeightedNegatives(embedding.perp_neg.values[1:2], embedding.perp_neg.weights[1:2]),
    )
    torch.testing.assert_close(together[1:2], bundled.predict_noise(x[1:2], 500, part, 7.5), rtol=1e-3, atol=1e-4)


def test_without_negatives_guidance_is_the_same_to_the_bit() -> None:
    conditional, unconditional = torch.randn(2, *SHAPE)
    guided = NoisePredictions(conditional, unconditional).guided(7.5)
    assert torch.equal(guided, unconditional + 7.5 * (conditional - unconditional))
