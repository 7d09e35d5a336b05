"""Numbers that are not finite stop each kind of system in the step in which they appear, with their part named."""

import pytest
import torch
from threestudio_rsd.errors import NonFiniteError
from threestudio_rsd.inverse import solve
from threestudio_rsd.runs.launching import find_config, register_modules
from threestudio_rsd.standalone.engine.launch import launch

IMAGES = ("system.particles.n_particles=2", "trainer.max_steps=3", "system.metrics_every=0", "use_timestamp=false")


def poison(value, row=1):
    value = value.clone()
    value[row] = torch.nan
    return value


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    register_modules()
    monkeypatch.chdir(tmp_path)


def spoil_prior(monkeypatch, method, step=1):
    """Have a method of the bundled prior return NaN for particle 1 from its (step + 1)-th call on."""
    from threestudio_rsd.priors.stable_diffusion import StableDiffusionPrior

    calls = []
    owner = next(each for each in StableDiffusionPrior.__mro__ if method in vars(each))
    former = getattr(owner, method)

    def spoiled(self, *args, **kwargs):
        result = former(self, *args, **kwargs)
        calls.append(method)
        return poison(result) if len(calls) > step else result

    monkeypatch.setattr(owner, method, spoiled)


def test_the_noise_prediction(monkeypatch, tmp_path):
    spoil_prior(monkeypatch, "raw_predict", step=0)
    with pytest.raises(NonFiniteError, match=r"Step 0: the noise prediction of particle \d is nan at t=\d+"):
        launch(find_config("configs/text2image/sds.yaml"), "train", [*IMAGES, "system.guidance.gamma=0"])
    assert not list(tmp_path.rglob("*.ckpt"))
    assert not list(tmp_path.rglob("metrics.json"))


def test_the_decoder_of_the_kernel(monkeypatch):
    spoil_prior(monkeypatch, "decode", step=1)
    settings = [*IMAGES, "system.guidance.repulsion_refresh=1", "system.guidance.feature_decoder=full"]
    with pytest.raises(NonFiniteError, match=r"Step 1: the features of particle 1 is nan"):
        launch(find_config("configs/text2image/sds.yaml"), "train", settings)


@pytest.mark.slow
def test_a_network_of_vsd_that_diverges():
    settings = [*IMAGES, "system.guidance.gamma=0", "system.optimizer.params.guidance.lr=1e30", "trainer.max_steps=6"]
    with pytest.raises(NonFiniteError, match=r"Step \d: .* system.optimizer.params.guidance.lr"):
        launch(find_config("configs/text2image/vsd.yaml"), "train", settings)


def test_a_solver(monkeypatch):
    spoil_prior(monkeypatch, "raw_predict", step=0)
    settings = [
        "system.solver.n_particles=2",
        "system.solver.n_steps=3",
        "system.solver.gamma=0",
        "use_timestamp=false",
    ]
    with pytest.raises(NonFiniteError, match=r"Step 0: the noise prediction of particle \d of image \d is nan at t="):
        launch(find_config("configs/inverse/half-box.yaml"), "train", settings)


def test_the_ancestral_sampler(monkeypatch):
    spoil_prior(monkeypatch, "raw_predict", step=2)
    settings = ["system.particles.n_particles=2", "use_timestamp=false", "system.num_inference_steps=4"]
    with pytest.raises(NonFiniteError, match=r"Step \d: the latent of particle \d is nan"):
        launch(find_config("configs/text2image/ancestral.yaml"), "train", settings)


class Halves:
    """Measures half of an image; from the second step on, its answer is infinite for one particle."""

    def __init__(self):
        self.calls = 0

    def A(self, x):  # noqa: N802 deepinv's name
        self.calls += 1
        half = x[..., : x.shape[-1] // 2]
        return half * torch.inf if self.calls > 4 else half


def test_the_python_interface_of_the_solvers(bundled):
    y = torch.full((1, 3, 64, 32), 0.5)
    with pytest.raises(NonFiniteError, match=r"Step \d: .* of particle"):
        solve(y, Halves(), bundled, n_particles=2, n_steps=6, progress=False, name="latent-reddiff")
