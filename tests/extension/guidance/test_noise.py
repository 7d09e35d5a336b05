"""Guidance along the prior's own flow: the keys of noise, exact step, intervals and held targets."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from threestudio_rsd.distillation import SDS, NoiseSource, RepulsiveDistillation, world_map_share
from threestudio_rsd.errors import UserError
from threestudio_rsd.extension.guidance.noise import GuidanceNoise, NoiseConfig
from threestudio_rsd.priors import NoiseLevelInterval, Prior
from threestudio_rsd.priors.noise_levels import noise_level

from tests.extension.systems.test_images import launch, particles

SHORT = ["system.metrics_every=0", "system.guidance.noise_candidates=0"]


def test_the_config_is_the_loop_over_exact_steps(tmp_path: Path, bundled: Prior) -> None:
    found = particles(launch("flow", tmp_path, "trainer.max_steps=4", *SHORT))
    distillation = RepulsiveDistillation(
        SDS(bundled, 5.0), weighting_strategy="exact", guidance_interval=NoiseLevelInterval(0.28, 20.0)
    )
    noise = NoiseSource("fixed", coupled=True)(0, 2, bundled.latent_shape)
    x, steps = torch.zeros_like(noise), [999, 666, 333, 0]
    for t, t_next in zip(steps, [*steps[1:], None], strict=True):
        x = x - distillation(x, t, noise, bundled.embed("a mushroom"), t_next=t_next).gradient
    torch.testing.assert_close(found, x, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_selected_noises_differ_from_the_first_and_are_selected_again_on_resume(tmp_path: Path) -> None:
    options = ["system.metrics_every=0", "system.guidance.noise_candidates=6", "system.guidance.total_steps=3"]
    whole = launch("flow", tmp_path / "whole", "trainer.max_steps=3", *options)
    first = launch("flow", tmp_path / "first", "trainer.max_steps=1", *options)
    resume = f"resume={first / 'ckpts' / 'last.ckpt'}"
    rest = launch("flow", tmp_path / "rest", "trainer.max_steps=3", resume, *options)
    assert torch.equal(particles(rest), particles(whole))
    plain = launch("flow", tmp_path / "plain", "trainer.max_steps=3", *SHORT, "system.guidance.total_steps=3")
    assert not torch.equal(particles(plain), particles(whole))


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(
            ["system.guidance.noise=refreshed", "system.guidance.noise_refresh_rate=[0,0.5,0.1,4]"],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            [
                "system.guidance.weighting_strategy=snr",
                "system.guidance.inner_steps=3",
                "system.optimizer.name=Adam",
                "system.optimizer.args.lr=0.05",
            ],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_resumed_equals_uninterrupted_to_the_bit(options: list[str], tmp_path: Path) -> None:
    common = [*SHORT, "system.guidance.total_steps=6", *options]
    whole = launch("flow", tmp_path / "whole", "trainer.max_steps=6", *common)
    first = launch("flow", tmp_path / "first", "trainer.max_steps=4", *common)
    resume = f"resume={first / 'ckpts' / 'last.ckpt'}"
    rest = launch("flow", tmp_path / "rest", "trainer.max_steps=6", resume, *common)
    assert torch.equal(particles(rest), particles(whole))
    assert not torch.equal(particles(first), particles(whole))


@pytest.mark.slow
def test_a_target_held_for_many_steps_of_adam_is_the_exact_step(tmp_path: Path) -> None:
    exact = particles(launch("flow", tmp_path / "exact", "trainer.max_steps=1", *SHORT))
    held = particles(
        launch(
            "flow",
            tmp_path / "held",
            "trainer.max_steps=200",
            "trainer.val_check_interval=200",
            *SHORT,
            "system.guidance.weighting_strategy=snr",
            "system.guidance.inner_steps=200",
            "system.optimizer={name: Adam, args: {lr: 0.1}}",
        )
    )
    torch.testing.assert_close(held, exact, atol=0.05, rtol=0)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("noise=stale", "accepted: fresh, fixed, refreshed"),
        ("timestep_schedule=random", "accepted: timestep_schedule='descending'"),
        ("noise_refresh_rate=0.1", "needs noise='refreshed'"),
        ("inner_steps=2", "weighting_strategy='snr'"),
        ("inner_steps=0", "an integer of at least 1"),
        ("guidance_interval=[2,1]", "0 <= low <= high"),
        ("guidance_interval=3", "guidance_interval=3 has a wrong type"),
        ("guidance_interval=[1]", "accepted: null or [low, high]"),
        ("repulsion_interval=[a,b]", "repulsion_interval"),
        ("noise=fresh", "impossible with noise='fresh'"),
        ("view_noise=sphere", "accepted: constant, world-map"),
        ("world_map_interval=[1,2]", "needs view_noise='world-map'"),
        ("world_map_interval=[0,2]", "0 < low"),
        ("noise_candidates=1", "from 1 to 1"),
    ],
)
def test_impossible_settings_are_one_sentence(override: str, sentence: str, tmp_path: Path, capsys) -> None:
    with pytest.raises(AssertionError):
        launch("flow", tmp_path, "trainer.max_steps=1", f"system.guidance.{override}")
    error = capsys.readouterr().err
    assert sentence in error
    assert "Traceback" not in error


def test_a_single_particle_cannot_be_coupled(tmp_path: Path, capsys) -> None:
    with pytest.raises(AssertionError):
        launch("flow", tmp_path, "trainer.max_steps=1", "system.particles.n_particles=1", *SHORT)
    assert "at least 2 particles" in capsys.readouterr().err


def test_unknown_interval_values_are_refused_before_training() -> None:
    with pytest.raises(UserError, match="0 <= low"):
        NoiseLevelInterval(-1.0)


def guidance_noise(prior: Prior, **settings: object) -> GuidanceNoise:
    return GuidanceNoise(SimpleNamespace(**{**vars(NoiseConfig()), "features": "dino", **settings}), None, prior, 0)


def test_views_of_a_particle_share_constant_noise(bundled: Prior) -> None:
    noise = guidance_noise(bundled, noise="fixed")(
        5, torch.Size((4, *bundled.latent_shape)), 2, 500, 999, bundled.embed("a"), {}
    )
    assert torch.equal(noise[0], noise[1])
    assert not torch.equal(noise[1], noise[2])
    assert torch.equal(noise[::2], NoiseSource("fixed")(0, 2, bundled.latent_shape))


def test_world_map_noise_turns_with_the_camera_and_stays_where_the_view_is_transparent(bundled: Prior) -> None:
    shape = torch.Size((4, *bundled.latent_shape))
    batch = {"azimuth": torch.tensor([0.0, 90.0, 0.0, 90.0]), "elevation": torch.zeros(4)}
    make = guidance_noise(bundled, noise="fixed", view_noise="world-map", noise_coupled=True)
    noise = make(3, shape, 2, 500, 999, bundled.embed("a"), batch | {"opacity": torch.ones(4, 64, 64, 1)})
    assert torch.equal(
        noise, make(8, shape, 2, 500, 999, bundled.embed("a"), batch | {"opacity": torch.ones(4, 64, 64, 1)})
    )
    assert not torch.equal(noise[0], noise[1])
    torch.testing.assert_close(noise[0], -noise[2], msg="two coupled noises are opposite")
    transparent = make(3, shape, 2, 500, 999, bundled.embed("a"), batch | {"opacity": torch.zeros(4, 64, 64, 1)})
    constant = guidance_noise(bundled, noise="fixed", noise_coupled=True)(3, shape, 2, 500, 999, bundled.embed("a"), {})
    assert torch.equal(transparent, constant)


def test_views_take_constant_noise_above_the_interval_and_the_map_below_it(bundled: Prior) -> None:
    shape = torch.Size((4, *bundled.latent_shape))
    batch = {"azimuth": torch.tensor([0.0, 90.0, 0.0, 90.0]), "elevation": torch.zeros(4)}
    settings = {"noise": "fixed", "view_noise": "world-map", "noise_coupled": True}

    def noise_at(t: int, **further: object) -> torch.Tensor:
        return guidance_noise(bundled, **settings, **further)(0, shape, 2, t, 999, bundled.embed("a"), batch)

    interval = [noise_level(bundled, 300), noise_level(bundled, 700)]
    constant = guidance_noise(bundled, noise="fixed", noise_coupled=True)(0, shape, 2, 999, 999, bundled.embed("a"), {})
    turning = noise_at(999)
    assert torch.equal(noise_at(700, world_map_interval=interval), constant)
    assert torch.equal(noise_at(300, world_map_interval=interval), turning)
    between = noise_at(500, world_map_interval=interval)
    share = world_map_share(noise_level(bundled, 500), NoiseLevelInterval(*interval))
    assert 0 < share < 1
    torch.testing.assert_close(between, (1 - share) ** 0.5 * constant + share**0.5 * turning)
