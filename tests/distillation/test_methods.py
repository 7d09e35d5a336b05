"""Base methods and RSD against their equations, and the sign of the repulsion by behavior."""

from functools import partial

import pytest
import torch
from threestudio_rsd.distillation import NFSD, SDS, SVGD, VSD, CameraCondition, RepulsiveDistillation, Step
from threestudio_rsd.errors import UserError
from threestudio_rsd.priors import GaussianMixturePrior, NoisePredictions, load_prior
from threestudio_rsd.repulsion import RBFKernel, RepulsiveForce

from tests.tiny_models import tiny_stable_diffusion
from tests.waiting import NoWaiting


@pytest.fixture
def mixture() -> GaussianMixturePrior:
    return GaussianMixturePrior(
        torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.tensor([0.005, 0.005]), torch.tensor([0.5, 0.5])
    )


def predictions(n: int = 3) -> NoisePredictions:
    return NoisePredictions(*torch.randn(3, n, 2))


def direction(method: torch.nn.Module, parts: NoisePredictions, t: int = 500, noise: torch.Tensor | None = None):
    x = torch.randn(len(parts.conditional), 2)
    noise = torch.randn_like(x) if noise is None else noise
    return method.direction(Step(x, x, t, noise, parts, method.prior.embed(""))), noise


def test_sds_is_guided_noise_minus_noise(mixture: GaussianMixturePrior) -> None:
    parts = predictions()
    result, noise = direction(SDS(mixture, 7.5), parts)
    torch.testing.assert_close(result, parts.unconditional + 7.5 * (parts.conditional - parts.unconditional) - noise)


@pytest.mark.parametrize(("t", "subtracts"), [(199, False), (200, True)])
def test_nfsd_drops_the_negative_prompt_below_200(mixture: GaussianMixturePrior, t: int, subtracts: bool) -> None:
    parts = predictions()
    result, _ = direction(NFSD(mixture, 4.0), parts, t)
    expected = parts.unconditional + 4.0 * (parts.conditional - parts.unconditional)
    torch.testing.assert_close(result, expected - parts.negative if subtracts else expected)


def test_svgd_is_equation_36(mixture: GaussianMixturePrior) -> None:
    """Against a double loop with autograd, in terms of the score: -sigma_t times SVGD's ascent direction."""
    torch.manual_seed(3)
    x, t, h = torch.randn(4, 2, dtype=torch.float64), 300, 0.8
    parts = NoisePredictions(*torch.randn(2, 4, 2, dtype=torch.float64))
    sigma = mixture.sigma(t).double()
    force = RepulsiveForce("euclidean", RBFKernel(h), form="sum")
    noise = torch.zeros_like(x)
    step = Step(x, x, t, noise, parts, mixture.embed(""))
    result = SVGD(mixture, 1.0, force, base="sds").direction(step)
    for i in range(4):
        ascent = torch.zeros(2, dtype=torch.float64)
        for j in range(4):
            x_j = x[j].clone().requires_grad_()
            kernel = torch.exp(-(x_j - x[i]).square().sum() / h)
            score = -parts.conditional[j] / sigma
            ascent += kernel.detach() * score + torch.autograd.grad(kernel, x_j)[0]
        torch.testing.assert_close(result[i], -sigma * ascent / 4)


@pytest.mark.parametrize("method", [SDS, NFSD, SVGD])
@pytest.mark.parametrize("kernel_input", ["noisy", "clean", "denoised"])
def test_gamma_zero_is_the_base_method_to_the_bit(
    mixture: GaussianMixturePrior, method: type, kernel_input: str
) -> None:
    def fail(x: torch.Tensor) -> torch.Tensor:
        raise AssertionError("gamma = 0 must run neither decoder nor feature network")

    x, noise, embedding = torch.randn(4, 2), torch.randn(4, 2), mixture.embed("")
    alone = RepulsiveDistillation(method(mixture))(x, 400, noise, embedding).gradient
    with_force = RepulsiveDistillation(method(mixture), RepulsiveForce(fail, decode=fail), kernel_input)
    assert torch.equal(with_force(x, 400, noise, embedding, gamma=0.0).gradient, alone)


@pytest.mark.parametrize("kernel_input", ["noisy", "clean", "denoised"])
def test_the_gradient_is_the_documented_sum(mixture: GaussianMixturePrior, kernel_input: str) -> None:
    x, noise, embedding, t, gamma = torch.randn(4, 2), torch.randn(4, 2), mixture.embed(""), 400, 3.0
    force = RepulsiveForce("euclidean")
    result = RepulsiveDistillation(SDS(mixture, 1.0), force, kernel_input)(x, t, noise, embedding, gamma)
    alpha, sigma = mixture.alpha(t), mixture.sigma(t)
    x_t = alpha * x + sigma * noise
    epsilon = mixture.predict_noise(x_t, t, embedding, 1.0)
    seen = {"noisy": x_t, "clean": x, "denoised": (x_t - sigma * epsilon) / alpha}[kernel_input]
    torch.testing.assert_close(result.gradient, sigma**2 * (epsilon - noise + gamma * sigma * force(seen)))


@pytest.mark.parametrize("kernel_input", ["noisy", "clean", "denoised"])
def test_repulsion_spreads_an_ensemble(mixture: GaussianMixturePrior, kernel_input: str) -> None:
    """The sign, by behavior: descending the whole gradient leaves particles farther apart than at gamma 0."""

    def spread(gamma: float) -> float:
        distillation = RepulsiveDistillation(SDS(mixture, 1.0), RepulsiveForce("euclidean"), kernel_input)
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(6, 2, generator=generator) * 0.3
        for step in range(60):
            noise = torch.randn(6, 2, generator=generator)
            x = x - 0.05 * distillation(x, 900 - 10 * step, noise, mixture.embed(""), gamma).gradient
        return float(torch.pdist(x).mean())

    assert spread(3.0) > 1.2 * spread(0.0)


def test_the_gradient_of_a_particle_does_not_depend_on_n(mixture: GaussianMixturePrior) -> None:
    x, noise, embedding = torch.randn(5, 2), torch.randn(5, 2), mixture.embed("")
    distillation = RepulsiveDistillation(SDS(mixture))
    whole = distillation(x, 300, noise, embedding).gradient
    torch.testing.assert_close(distillation(x[:2], 300, noise[:2], embedding).gradient, whole[:2])


@pytest.mark.parametrize("make", [SDS, NFSD, VSD, partial(VSD, network="unet", unet_channels=(8, 16))])
def test_step_with_repulsion_does_not_wait_for_the_device(make, tmp_path) -> None:
    prior = load_prior(tiny_stable_diffusion(tmp_path))
    method, embedding = make(prior), prior.embed("a")
    distillation = RepulsiveDistillation(method, RepulsiveForce("euclidean", decode=prior.decode))
    x, noise, t = torch.randn(3, 4, 8, 8), torch.randn(3, 4, 8, 8), torch.full((3,), 500)
    distillation(x, 500, noise, embedding, gamma=5.0)  # the first step reads some numbers
    with NoWaiting():
        distillation(x, 500, noise, embedding, gamma=5.0)
        if isinstance(method, VSD):
            method.loss(x, t, noise, embedding)


class TestVSD:
    @pytest.fixture
    def prior(self, tmp_path):
        return load_prior(tiny_stable_diffusion(tmp_path))

    def test_unet_gets_the_timestep_of_each_row_with_the_same_result(self, prior) -> None:
        vsd, x = VSD(prior, network="unet", unet_channels=(8, 16)), torch.randn(3, 4, 8, 8)
        assert torch.equal(vsd.predict_noise(x, 300, prior.embed("a")), vsd.unet(x, 300).sample)

    @pytest.mark.parametrize("network", ["lora", "unet"])
    def test_loss_trains_eps_phi_and_never_the_prior(self, prior, network: str) -> None:
        embedding = prior.embed("a b")
        x, noise = torch.randn(3, 4, 8, 8), torch.randn(3, 4, 8, 8)
        t = torch.tensor([10, 500, 900])
        before = prior.predict_noise(x, 300, embedding, 3.0)
        vsd = VSD(prior, network=network, lora_rank=2, unet_channels=(8, 16))
        torch.testing.assert_close(prior.predict_noise(x, 300, embedding, 3.0), before, rtol=0, atol=0)
        optimizer = torch.optim.Adam(vsd.parameters(), 1e-2)
        losses = []
        for _ in range(15):
            loss = vsd.loss(x, t, noise, embedding)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < losses[0]
        assert torch.equal(prior.predict_noise(x, 300, embedding, 3.0), before), "the LoRA must be off for the prior"
        assert not torch.allclose(vsd.predict_noise(x, 300, embedding), prior.predict_noise(x, 300, embedding, 1.0))

    def test_an_untrained_lora_predicts_like_the_prior(self, prior) -> None:
        embedding, x, noise = prior.embed("a"), torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
        vsd = VSD(prior, guidance_scale=1.0)
        result = RepulsiveDistillation(vsd)(x, 500, noise, embedding)
        torch.testing.assert_close(result.direction, torch.zeros_like(x), atol=1e-5, rtol=0)

    def test_state_dict_holds_the_adapters_only(self, prior) -> None:
        state = VSD(prior, lora_rank=2).state_dict()
        assert state
        assert all("lora" in name for name in state)

    @pytest.mark.parametrize("network", ["lora", "unet"])
    def test_cameras_train_eps_phi_and_never_change_the_prior(self, prior, network: str) -> None:
        embedding = prior.embed("a b")
        x, noise = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
        t, cameras = torch.tensor([100, 700]), torch.randn(2, 16)
        before = prior.predict_noise(x, 300, embedding, 3.0)
        vsd = VSD(prior, network=network, lora_rank=2, unet_channels=(8, 16), camera_condition=True)
        camera_weights = dict(vsd.camera.named_parameters())
        assert camera_weights.keys() <= {name.removeprefix("camera.") for name in vsd.state_dict()}
        optimizer = torch.optim.Adam(vsd.parameters(), 1e-2)
        for _ in range(2):
            optimizer.zero_grad()
            vsd.loss(x, t, noise, embedding, cameras).backward()
            assert torch.equal(prior.predict_noise(x, 300, embedding, 3.0), before)
            optimizer.step()
        assert all(weight.grad.abs().sum() > 0 for weight in camera_weights.values())
        one_side, other_side = (vsd.predict_noise(x, 300, embedding, c) for c in (cameras, -cameras))
        assert not torch.allclose(one_side, other_side)

    def test_an_untrained_camera_embedding_changes_nothing(self, prior) -> None:
        embedding, x = prior.embed("a"), torch.randn(2, 4, 8, 8)
        vsd = VSD(prior, camera_condition=True)
        expected = prior.predict_noise(x, 300, embedding, 1.0)
        assert torch.equal(vsd.predict_noise(x, 300, embedding, torch.randn(2, 16)), expected)

    def test_the_prediction_of_eps_phi_is_guided_by_the_camera(self, prior) -> None:
        embedding, x, cameras = prior.embed("a"), torch.randn(2, 4, 8, 8), torch.randn(2, 16)
        vsd = VSD(prior, guidance_scale=1.0, camera_condition=True, guidance_scale_lora=3.0)
        torch.nn.init.normal_(vsd.camera.layers[2].weight)
        predicted = prior.noise_predictions(x, 300, embedding)
        step = Step(x, x, 300, torch.zeros_like(x), predicted, embedding, CameraCondition(cameras, embedding))
        with_camera, without = (vsd.predict_noise(x, 300, embedding, c) for c in (cameras, torch.zeros(2, 16)))
        expected = predicted.conditional - (without + 3 * (with_camera - without))
        torch.testing.assert_close(vsd.direction(step), expected)

    @pytest.mark.parametrize("camera_condition", [True, False])
    def test_missing_and_unexpected_cameras_raise(self, prior, camera_condition: bool) -> None:
        vsd = VSD(prior, camera_condition=camera_condition)
        cameras = None if camera_condition else torch.zeros(1, 16)
        with pytest.raises(ValueError, match="cameras"):
            vsd.predict_noise(torch.zeros(1, 4, 8, 8), 300, prior.embed("a"), cameras)


@pytest.mark.parametrize(
    "make",
    [
        lambda prior: SDS(prior, guidance_scale=-1),
        lambda prior: SVGD(prior, base="vsd"),
        lambda prior: VSD(prior, network="mlp"),
        lambda prior: VSD(prior, guidance_scale_lora=2.0),
        lambda prior: RepulsiveDistillation(SDS(prior), kernel_input="raw"),
    ],
)
def test_invalid_options_raise(mixture: GaussianMixturePrior, make) -> None:
    with pytest.raises(UserError, match="accepted"):
        make(mixture)
