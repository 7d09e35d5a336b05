"""`dsd-guidance` and `sdi-guidance`: the registered modules equal the functions of `distillation`."""

from typing import Any

import pytest
import torch
from threestudio_rsd.distillation import invert_noise, simulate_noise
from threestudio_rsd.errors import UserError
from threestudio_rsd.particles import particle_noise

from tests.extension.guidance.test_guidance import build, call

DESCENDING = {"timestep_schedule": "descending", "total_steps": 5, "min_step_percent": 0, "max_step_percent": 0.96}
GRID = [959, 719, 480, 240, 0]


def gradient(name: str, step: int, x: torch.Tensor, **config: Any) -> tuple[torch.Tensor, int]:
    """Gradient of the particles in a step, and the network evaluations it took."""
    guidance = build(name, weighting_strategy="snr", **DESCENDING, **config)
    guidance.update_step(0, step)
    before, leaf = guidance.prior.network_calls, x.clone().requires_grad_()
    output = call(guidance, leaf)
    output[f"loss_{name.partition('-')[0]}"].backward()
    assert output["timestep"] == GRID[step]
    return leaf.grad, guidance.prior.network_calls - before


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(2, 4, 16, 16)


@pytest.fixture
def noise() -> torch.Tensor:
    return particle_noise(5, "noise", 0, 2, (4, 16, 16))


def expected(bundled: Any, x: torch.Tensor, t: int, noise: torch.Tensor) -> torch.Tensor:
    """lambda_t (eps_w(x_t) - noise)."""
    alpha, sigma = bundled.alpha(t), bundled.sigma(t)
    predicted = bundled.predict_noise(alpha * x + sigma * noise, t, bundled.embed("a mushroom"), 7.5)
    return (predicted - noise) * sigma / alpha


@pytest.mark.parametrize("name", ["dsd-guidance", "sdi-guidance"])
def test_the_first_step_has_the_noise_itself(name: str, bundled: Any, x: torch.Tensor, noise: torch.Tensor) -> None:
    found, calls = gradient(name, 0, x, noise="fixed")
    torch.testing.assert_close(found, expected(bundled, x, GRID[0], noise), rtol=1e-4, atol=1e-4)
    assert calls == 2 * 2


def test_dsd_simulates_the_timesteps_of_the_run(bundled: Any, x: torch.Tensor, noise: torch.Tensor) -> None:
    found, calls = gradient("dsd-guidance", 2, x, simulation_steps=None, reference="simulated")
    simulated = simulate_noise(bundled, noise, GRID[:2], bundled.embed("a mushroom"))
    torch.testing.assert_close(found, expected(bundled, x, GRID[2], simulated), rtol=1e-3, atol=1e-3)
    assert calls == 2 * 2 * 3


@pytest.mark.slow
def test_dsd_simulates_a_grid_of_its_own_down_to_t(bundled: Any, x: torch.Tensor, noise: torch.Tensor) -> None:
    found, calls = gradient("dsd-guidance", 2, x, simulation_steps=4, lookahead=0.0, reference="simulated")
    simulated = simulate_noise(bundled, noise, [959, 719, 480], bundled.embed("a mushroom"))
    torch.testing.assert_close(found, expected(bundled, x, 480, simulated), rtol=1e-3, atol=1e-3)
    assert calls == 2 * 2 * 4
    _, calls = gradient("dsd-guidance", 2, x, simulation_steps=4, lookahead=0.0)
    assert calls == 2 * 2 * 4 + 2, "the interpolated reference costs one prediction without guidance"


def test_sdi_inverts_up_to_t(bundled: Any, x: torch.Tensor) -> None:
    found, calls = gradient("sdi-guidance", 2, x, noise="fixed", inversion_steps=3)
    inverted = invert_noise(bundled, x, [0, 333, 480], bundled.embed("a mushroom"), -7.5)
    torch.testing.assert_close(found, expected(bundled, x, 480, inverted), rtol=1e-3, atol=1e-3)
    assert calls == 2 * 2 * 3


@pytest.mark.parametrize(
    ("name", "config", "words"),
    [
        ("dsd-guidance", {"noise": "fresh"}, "noise='fresh'.*fixed"),
        ("dsd-guidance", {"lookahead": 2}, "lookahead=2"),
        ("dsd-guidance", {"simulation_steps": 0}, "simulation_steps=0"),
        ("dsd-guidance", {"reference": "none"}, "reference='none'.*simulated, interpolated"),
        ("sdi-guidance", {"inversion_steps": 0}, "inversion_steps=0"),
    ],
)
def test_impossible_values_are_named(name: str, config: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        build(name, **config)
