"""Noise predictions in chunks of rows."""

import pytest
import torch
from threestudio_rsd.priors import GaussianMixturePrior
from threestudio_rsd.priors.row_chunks import at_most_rows


def mixture() -> GaussianMixturePrior:
    return GaussianMixturePrior(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]), torch.full((2,), 0.1), torch.ones(2))


@pytest.mark.parametrize("t", [500, torch.arange(5) * 100])
def test_chunks_equal_one_call(t: int | torch.Tensor) -> None:
    prior = mixture().double()
    x = torch.randn(5, 2, dtype=torch.float64)
    whole = prior.noise_predictions(x, t, prior.embed(), negative=True)
    prior.rows_per_call = 4
    chunked = prior.noise_predictions(x, t, prior.embed(), negative=True)
    for name in ("conditional", "unconditional", "negative"):
        torch.testing.assert_close(getattr(chunked, name), getattr(whole, name), rtol=1e-12, atol=0)


def test_chunks_get_smaller_until_they_fit_in_memory(monkeypatch) -> None:
    prior, x = mixture(), torch.randn(6, 2)
    expected = prior.noise_predictions(x, 500, prior.embed()).conditional
    predict, tried = prior.raw_predict, []

    def small_memory(x_t: torch.Tensor, *others: object) -> torch.Tensor:
        tried.append(len(x_t))
        if len(x_t) > 4:
            raise torch.cuda.OutOfMemoryError
        return predict(x_t, *others)

    monkeypatch.setattr(prior, "raw_predict", small_memory)
    torch.testing.assert_close(prior.noise_predictions(x, 500, prior.embed()).conditional, expected)
    assert tried == [12, 6, 3, 3, 3, 3]
    prior.predict_noise(x, 500, prior.embed(), guidance_scale=1.0)  # later calls start with what fitted
    assert tried[6:] == [3, 3]


@pytest.mark.parametrize(("own", "most", "expected"), [(None, 2, 2), (4, 2, 2), (1, 2, 1), (4, None, 4)])
def test_rows_of_a_context_end_with_it(own: int | None, most: int | None, expected: int, monkeypatch) -> None:
    prior, x = mixture(), torch.randn(6, 2)
    prior.rows_per_call = own
    predict, sizes = prior.raw_predict, []

    def counting(x_t: torch.Tensor, *others: object) -> torch.Tensor:
        sizes.append(len(x_t))
        return predict(x_t, *others)

    monkeypatch.setattr(prior, "raw_predict", counting)
    with at_most_rows(prior, most):
        prior.predict_noise(x, 500, prior.embed(), guidance_scale=1.0)
    assert max(sizes) == expected
    assert prior.rows_per_call == own
    with at_most_rows(None, 2):  # a guidance without a prior of ours
        pass
