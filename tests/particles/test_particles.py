"""Random numbers per particle, initial particles, and image files."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from threestudio_rsd.errors import UserError
from threestudio_rsd.images import read_images, save_grid
from threestudio_rsd.particles import initial_particles, particle_noise, particle_timesteps


@given(seed=st.integers(0, 2**32 - 1), step=st.integers(0, 10**6), n=st.integers(1, 6), more=st.integers(0, 4))
def test_particle_i_does_not_depend_on_n(seed: int, step: int, n: int, more: int) -> None:
    few = particle_noise(seed, "noise", step, n, (2, 3))
    assert torch.equal(particle_noise(seed, "noise", step, n + more, (2, 3))[:n], few)
    assert torch.equal(particle_timesteps(seed, step, n + more, 1000)[:n], particle_timesteps(seed, step, n, 1000))


def test_noise_differs_between_particles_steps_streams_and_seeds() -> None:
    draws = [
        particle_noise(seed, stream, step, 3, (8,))
        for seed in (0, 1)
        for stream in ("noise", "initial")
        for step in (0, 1)
    ]
    assert len({tuple(row.tolist()) for draw in draws for row in draw}) == 24


def test_noise_is_standard_normal() -> None:
    noise = torch.cat([particle_noise(0, "noise", step, 8, (64,)).flatten() for step in range(40)])
    assert noise.mean().abs() < 0.03
    assert abs(noise.std() - 1) < 0.03


def test_scale_zero_starts_from_zeros() -> None:
    assert torch.equal(initial_particles(2, (4,), 0, scale=0.0), torch.zeros(2, 4))


def test_images_are_read_in_order_resized_and_gray_becomes_rgb(tmp_path: Path) -> None:
    Image.new("L", (20, 10), 255).save(tmp_path / "b.png")
    Image.new("RGB", (8, 8), (255, 0, 0)).save(tmp_path / "a.png")
    images = read_images(str(tmp_path), 16)
    assert images.shape == (2, 3, 16, 16)
    torch.testing.assert_close(images[0, :, 0, 0], torch.tensor([1.0, 0.0, 0.0]))
    torch.testing.assert_close(images[1], torch.ones(3, 16, 16))


@pytest.mark.parametrize("name", ["missing.png", "empty", "broken.png"])
def test_unreadable_images_raise(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(UserError, match="init_path"):
        read_images(str(tmp_path / name), 16)


def test_grid_contains_every_image(tmp_path: Path) -> None:
    images = torch.linspace(0, 1, 5)[:, None, None, None].expand(5, 3, 4, 4)
    save_grid(images, tmp_path / "grid.png", columns=3, gap=1)
    picture = Image.open(tmp_path / "grid.png")
    assert picture.size == (14, 9)
    assert [picture.getpixel((5 * (i % 3), 5 * (i // 3)))[0] for i in range(5)] == [0, 64, 128, 191, 255]
