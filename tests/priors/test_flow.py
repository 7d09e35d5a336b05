"""Flow-matching priors on a Gaussian, whose velocity is known in closed form."""

import pytest
import torch
from threestudio_rsd.distillation import NFSD, SDS, RepulsiveDistillation, TimestepSchedule
from threestudio_rsd.errors import UserError
from threestudio_rsd.priors import FlowPrior, PromptEmbedding, noise_level, sample_ancestral

MEAN, DEVIATION = 2.0, 0.5


class GaussianFlow(FlowPrior):
    """x_0 is N(MEAN, DEVIATION^2) in each coordinate for the prompt, and N(0, DEVIATION^2) without one."""

    fingerprint, image_size = "Gaussian", 0

    def estimate(self, x_t: torch.Tensor, s: torch.Tensor, mean: torch.Tensor | float) -> torch.Tensor:
        """E[x_0 | x_t]."""
        variance = (1 - s) ** 2 * DEVIATION**2 + s**2
        return mean + (1 - s) * DEVIATION**2 / variance * (x_t - (1 - s) * mean)

    def velocity(self, x_t: torch.Tensor, flow_time: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        s = flow_time[:, None]
        return (x_t - self.estimate(x_t, s, MEAN * text[:, 0])) / s


@pytest.fixture
def prior() -> GaussianFlow:
    return GaussianFlow(torch.arange(1, 101) / 100, (3,))


@pytest.fixture
def prompt() -> PromptEmbedding:
    return PromptEmbedding(torch.ones(1, 1, 1), torch.zeros(1, 1, 1), torch.zeros(1, 1, 1))


@pytest.mark.parametrize("t", [0, 40, 99])
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_estimates_are_those_of_the_closed_form(prior, prompt, t: int, scale: float) -> None:
    x_t, s = torch.randn(5, 3), torch.tensor((t + 1) / 100)
    clean = prior.predict_clean(x_t, t, prompt, scale)
    conditional, unconditional = (prior.estimate(x_t, s, mean) for mean in (MEAN, 0.0))
    assert torch.allclose(clean, unconditional + scale * (conditional - unconditional), atol=1e-4)
    noise = prior.predict_noise(x_t, t, prompt, scale)
    assert torch.allclose(prior.alpha(t) * clean + prior.sigma(t) * noise, x_t, atol=1e-4)
    assert prior.alpha(t) + prior.sigma(t) == 1


def test_levels_broadcast_and_end_in_pure_noise(prior) -> None:
    assert prior.sigma(torch.tensor([0, 99])).shape == (2, 1)
    assert prior.last_timestep == 98
    assert noise_level(prior, 99) == float("inf")
    assert noise_level(prior, 49) == pytest.approx(1.0)


def test_exact_steps_from_pure_noise_and_ancestral_sampling_give_the_distribution(prior, prompt) -> None:
    noise = torch.randn(4000, 3)
    distillation = RepulsiveDistillation(SDS(prior, 1.0), weighting_strategy="exact")
    x = torch.full_like(noise, 77.0)  # where the particles start does not matter
    for t in range(99, -1, -1):
        x = x - distillation(x, t, noise, prompt, t_next=t - 1 if t else None).gradient
    ancestral = sample_ancestral(prior, prompt, 4000, lambda step: torch.randn(4000, 3), 1.0, 99)
    for samples in (x, ancestral):
        assert samples.mean() == pytest.approx(MEAN, abs=0.03)
        assert samples.std() == pytest.approx(DEVIATION, abs=0.03)
    assert torch.corrcoef(torch.stack([noise.flatten(), x.flatten()]))[0, 1] > 0.99  # a map of the noise


def test_a_guidance_scale_of_one_needs_one_call(prior, prompt) -> None:
    x, noise = torch.zeros(2, 3), torch.randn(2, 3)
    for scale, expected in ((1.0, 2), (3.0, 4)):
        before = prior.network_calls
        RepulsiveDistillation(SDS(prior, scale))(x, 50, noise, prompt)
        assert prior.network_calls - before == expected


def test_only_sds_starts_from_pure_noise(prior, prompt) -> None:
    distillation = RepulsiveDistillation(NFSD(prior), weighting_strategy="exact")
    with pytest.raises(UserError, match="with a flow-matching prior and SDS only; lower max_step_percent"):
        distillation(torch.zeros(1, 3), 99, torch.zeros(1, 3), prompt)
    assert TimestepSchedule("descending", 4)(0, 0, 99) == 99


@pytest.mark.parametrize("times", [[0.5, 0.4], [0.0, 1.0], [0.5, 1.1], [1.0]])
def test_impossible_flow_times_raise(times: list[float]) -> None:
    with pytest.raises(UserError, match="flow_times is impossible"):
        GaussianFlow(torch.tensor(times), (3,))
