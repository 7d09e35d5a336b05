"""Cameras of particles: `particle-camera-datamodule`."""

import pytest
import pytorch_lightning as pl
import torch
from threestudio_rsd.errors import UserError
from threestudio_rsd.extension.data import particle_cameras
from threestudio_rsd.host import find


def batch(n, size, **config):
    pl.seed_everything(3)
    data = find("particle-camera-datamodule")({"n_particles": n, "batch_size": size, "height": 4, "width": 4, **config})
    data.setup("fit")
    return next(iter(data.train_dataloader()))


def test_all_particles_have_the_same_cameras():
    views = batch(3, 6)
    assert (views["n_particles"], views["views_per_particle"]) == (3, 2)
    for name in ("rays_o", "rays_d", "c2w", "mvp_mtx", "light_positions", "elevation", "azimuth", "fovy"):
        parts = views[name].chunk(3)
        assert len(views[name]) == 6
        assert torch.equal(parts[0], parts[1])
        assert torch.equal(parts[0], parts[2])
    assert not torch.equal(views["azimuth"][0], views["azimuth"][1])


def test_cameras_do_not_depend_on_the_number_of_particles():
    one, many = batch(1, 2), batch(4, 8)
    assert torch.equal(one["rays_d"], many["rays_d"][:2])
    assert torch.equal(one["light_positions"], many["light_positions"][6:])


def test_azimuths_are_stratified_within_the_views_of_a_particle():
    azimuth = batch(2, 8)["azimuth"][:4]
    assert torch.equal(((azimuth + 180) // 90).long(), torch.arange(4))


def test_cameras_of_a_step_do_not_depend_on_the_first_step():
    pl.seed_everything(3)
    data = find("particle-camera-datamodule")({"n_particles": 2, "batch_size": 4, "height": 4, "width": 4})
    data.setup("fit")
    torch.rand(5)  # what else draws does not matter
    drawn = [data.train_dataset.collate(None)["azimuth"] for _ in range(3)]
    data.setup("fit")
    data.train_dataset.first_step = lambda: 2
    assert torch.equal(data.train_dataset.collate(None)["azimuth"], drawn[2])
    assert not torch.equal(drawn[1], drawn[2])


def test_batch_sizes_of_all_stages_are_divided_among_particles():
    data = find("particle-camera-datamodule")(
        {"n_particles": 2, "batch_size": [4, 2], "height": [4, 6], "width": [4, 6], "resolution_milestones": [5]}
    )
    data.setup("fit")
    data.train_dataset.update_step(0, 5)
    views = data.train_dataset.collate(None)
    assert views["rays_d"].shape == (2, 6, 6, 3)
    assert views["views_per_particle"] == 1
    assert data.train_dataset.batch_size == 2


@pytest.mark.parametrize(
    ("n", "size", "words"),
    [
        (3, 4, ["data.batch_size=4", "n_particles=3", "3 or 6"]),
        (3, [3, 4], ["data.batch_size=4"]),
        (4, 1, ["accepted: 4"]),
        (0, 1, ["data.n_particles=0"]),
    ],
)
def test_batch_sizes_that_do_not_divide_raise_user_error(n, size, words):
    stages = {"height": [4, 4], "width": [4, 4], "resolution_milestones": [1]} if isinstance(size, list) else {}
    with pytest.raises(UserError) as error:
        batch(n, size, **stages)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ({"n_particles": 2, "batch_size": 6}, "data.batch_size=6.*4 or 8"),
        ({"n_test_views": 3}, "data.n_test_views=3"),
    ],
)
def test_three_views_are_rejected_on_threestudio(monkeypatch, config, word):
    make = find("particle-camera-datamodule")
    make(config)
    monkeypatch.setattr(particle_cameras, "HOST", "threestudio")
    with pytest.raises(UserError, match=word):
        make(config)


def test_opposite_views_look_through_the_object_from_the_other_side():
    views = batch(2, 8, opposite_views=True, center_perturb=0.0, camera_perturb=0.0, up_perturb=0.0)
    assert views["views_per_particle"] == 4
    near, far = slice(0, 2), slice(2, 4)
    for name in ("camera_positions", "rays_o", "rays_d"):
        assert torch.equal(views[name][near, ..., :2], -views[name][far, ..., :2])
        assert torch.equal(views[name][near, ..., 2], views[name][far, ..., 2])
    assert ((views["azimuth"][near] - views["azimuth"][far]).abs() == 180).all()
    assert views["azimuth"].abs().max() <= 180
    # a camera that looks at the center projects it to the middle, and its matrices agree with its position
    assert torch.allclose(views["c2w"][:, :3, 3], views["camera_positions"])
    point = torch.tensor([0.3, 0.2, 0.1, 1.0])
    turned = point * torch.tensor([-1.0, -1.0, 1.0, 1.0])
    assert torch.allclose(views["mvp_mtx"][near] @ point, views["mvp_mtx"][far] @ turned)


@pytest.mark.parametrize(("n", "size", "config"), [(2, 2, {}), (2, 6, {}), (1, 2, {"azimuth_range": (-90, 90)})])
def test_opposite_views_need_pairs_and_the_whole_circle(n, size, config):
    with pytest.raises(UserError, match="opposite_views"):
        batch(n, size, opposite_views=True, **config)
