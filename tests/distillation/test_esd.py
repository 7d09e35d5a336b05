"""ESD against its equation, and against SDS and VSD, between which it interpolates."""

import pytest
import torch
from threestudio_rsd.distillation import ESD, SDS, VSD, CameraCondition, Step, esd_direction
from threestudio_rsd.errors import UserError
from threestudio_rsd.priors import Prior, load_prior

from tests.tiny_models import tiny_stable_diffusion


@pytest.fixture
def prior(tmp_path):
    return load_prior(tiny_stable_diffusion(tmp_path))


def step_of(prior: Prior, cameras: bool = False) -> Step:
    x, noise, embedding = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8), prior.embed("a")
    x_t = prior.alpha(300) * x + prior.sigma(300) * noise
    condition = CameraCondition(torch.randn(2, 16), prior.embed("b")) if cameras else None
    return Step(x, x_t, 300, noise, prior.noise_predictions(x_t, 300, embedding), embedding, condition)


def trained(method: VSD) -> VSD:
    """Change the weights, since an untrained eps_phi equals the prior."""
    generator = torch.Generator().manual_seed(1)
    for parameter in method.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    return method


def test_without_cameras_lambda_interpolates_between_sds_and_vsd(prior) -> None:
    """VSD is evaluated on the ESD object: a second object would add adapters of its own to the same U-Net."""
    step = step_of(prior)
    sds = SDS(prior, 3.0).direction(step)
    esd = trained(ESD(prior, 3.0, 0.0))
    assert torch.equal(esd.direction(step), sds)
    vsd = VSD.direction(esd, step)
    assert not torch.allclose(vsd, sds)
    for entropy_weight in (0.25, 1.0):
        esd.entropy_weight = entropy_weight
        torch.testing.assert_close(esd.direction(step), sds + entropy_weight * (vsd - sds))


@pytest.mark.slow
@pytest.mark.parametrize("entropy_weight", [0.0, 0.3, 1.0])
def test_with_cameras_esd_is_vsd_with_the_authors_guidance_scale_lora(prior, entropy_weight: float) -> None:
    step = step_of(prior, cameras=True)
    esd = trained(ESD(prior, 3.0, entropy_weight, camera_condition=True))
    result = esd.direction(step)
    esd.guidance_scale_lora = 1 - entropy_weight
    torch.testing.assert_close(result, VSD.direction(esd, step))


def test_the_entropy_term_moves_an_ensemble_apart() -> None:
    """The sign, by behavior: without a prior, exact scores of the ensemble's noised images move it apart."""
    generator = torch.Generator().manual_seed(0)
    start = 0.3 * torch.randn(6, 2, generator=generator)
    spread = {}
    for entropy_weight in (0.0, 0.5, 1.0):
        x = start.clone()
        for _ in range(100):
            noise = torch.randn(6, 2, generator=torch.Generator().manual_seed(1))
            x_t = x + noise  # alpha = sigma = 1
            offset = x_t[:, None] - x
            share = (-offset.square().sum(-1) / 2).softmax(-1)
            marginal = (share[..., None] * offset).sum(1)
            x = x - 0.05 * esd_direction(noise, marginal, noise, entropy_weight)
        spread[entropy_weight] = float(torch.pdist(x).mean())
    assert spread[0.0] == pytest.approx(float(torch.pdist(start).mean()))
    assert spread[1.0] > spread[0.5] > 1.5 * spread[0.0]


@pytest.mark.parametrize("entropy_weight", [-0.1, 1.5, float("nan")])
def test_weights_outside_zero_to_one_raise(prior, entropy_weight: float) -> None:
    with pytest.raises(UserError, match=r"entropy_weight=.*from 0 to 1"):
        ESD(prior, entropy_weight=entropy_weight)
