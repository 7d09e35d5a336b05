"""`random-camera-datamodule`: rays, matrices, ranges, stages, evaluation views, and errors."""

import math

import pytest
import pytorch_lightning as pl
import torch
from threestudio_rsd.errors import UserError
from threestudio_rsd.host import find
from threestudio_rsd.standalone.utils.rays import camera_rays, look_at, orbit_positions, projection_matrices


def module(**config):
    return find("random-camera-datamodule")({"height": 7, "width": 9, **config})


def batch(seed=0, **config):
    made = module(**config)
    made.setup("fit")
    pl.seed_everything(seed)
    return next(iter(made.train_dataloader()))


def test_the_middle_ray_looks_at_the_target_and_the_field_of_view_is_kept():
    position, target = torch.tensor([[3.0, 0.0, 0.0]]), torch.tensor([[0.0, 0.0, 0.5]])
    c2w = look_at(position, target, torch.tensor([[0.0, 0.0, 1.0]]))
    fovy = torch.tensor([math.radians(40)])
    origins, directions = camera_rays(c2w, fovy, 101, 101)
    assert torch.equal(origins[0, 0, 0], position[0])
    torch.testing.assert_close(directions[0, 50, 50], torch.nn.functional.normalize(target - position)[0])
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(1, 101, 101))
    # From pixel center to pixel center the rows span 100 of the 101 pixels of the field of view.
    top, bottom = directions[0, 0, 50], directions[0, 100, 50]
    expected = 2 * math.atan(math.tan(math.radians(20)) * 100 / 101)
    assert math.acos(float(top @ bottom)) == pytest.approx(expected, rel=1e-5)
    assert top[2] > bottom[2], "rows go downward"
    assert directions[0, 50, 100, 1] > directions[0, 50, 0, 1], "seen from +x, columns go towards +y"


def test_pixels_are_where_the_matrices_project_their_rays():
    position = orbit_positions(torch.tensor([0.3]), torch.tensor([1.0]), torch.tensor([2.0]))
    c2w = look_at(position, torch.zeros(1, 3), torch.tensor([[0.0, 0.0, 1.0]]))
    fovy = torch.tensor([0.8])
    origins, directions = camera_rays(c2w, fovy, 4, 6)
    points = torch.cat([origins + 1.5 * directions, torch.ones(1, 4, 6, 1)], dim=-1)
    clip = torch.einsum("ij,bhwj->bhwi", (projection_matrices(fovy, 6 / 4) @ torch.linalg.inv(c2w))[0], points)
    screen = clip[..., :2] / clip[..., 3:]
    torch.testing.assert_close(screen[0, 0, :, 0], (torch.arange(6) + 0.5) / 3 - 1, rtol=0, atol=1e-5)
    torch.testing.assert_close(screen[0, :, 0, 1], (torch.arange(4) + 0.5) / 2 - 1, rtol=0, atol=1e-5)  # y downward


def test_a_batch_holds_what_systems_read():
    views = batch(batch_size=5, elevation_range=[-10, 60], camera_distance_range=[2.0, 2.5], fovy_range=[40, 50])
    shapes = {name: tuple(value.shape) for name, value in views.items() if isinstance(value, torch.Tensor)}
    assert shapes["rays_o"] == shapes["rays_d"] == (5, 7, 9, 3)
    assert shapes["mvp_mtx"] == shapes["c2w"] == shapes["proj_mtx"] == (5, 4, 4)
    assert shapes["camera_positions"] == shapes["light_positions"] == (5, 3)
    assert (views["height"], views["width"]) == (7, 9)
    for name, low, high in (
        ("elevation", -10, 60),
        ("azimuth", -180, 180),
        ("camera_distances", 2, 2.5),
        ("fovy", math.radians(40), math.radians(50)),
    ):
        assert shapes[name] == (5,)
        assert low <= views[name].min()
        assert views[name].max() <= high


def test_azimuths_are_stratified():
    azimuth = batch(batch_size=8)["azimuth"]
    assert torch.equal(((azimuth + 180) // 45).long(), torch.arange(8))


def test_lights_lie_where_they_should():
    steep = batch(batch_size=64, light_sample_strategy="magic3d", camera_perturb=0.0)
    outward = torch.nn.functional.normalize(steep["camera_positions"], dim=-1)
    light = torch.nn.functional.normalize(steep["light_positions"], dim=-1)
    assert float((outward * light).sum(-1).min()) >= 0.5 - 1e-5  # within 60 degrees
    distance = batch(batch_size=64)["light_positions"].norm(dim=-1)
    assert distance.min() >= 0.8
    assert distance.max() <= 1.5


def test_stages_follow_the_milestones():
    made = module(height=[4, 8], width=[4, 8], batch_size=[3, 1], resolution_milestones=[10])
    made.setup("fit")
    for step, shape in ((0, (3, 4, 4, 3)), (9, (3, 4, 4, 3)), (10, (1, 8, 8, 3))):
        made.train_dataset.update_step(0, step)
        assert made.train_dataset.collate(None)["rays_d"].shape == shape


def test_progressive_angles_begin_at_the_front():
    made = module(progressive_until=99, batch_size=16, azimuth_range=[-180, 180])
    made.setup("fit")
    made.train_dataset.update_step(0, 0)
    assert made.train_dataset.collate(None)["azimuth"].abs().max() == 0
    made.train_dataset.update_step(0, 50)
    assert made.train_dataset.collate(None)["azimuth"].abs().max() <= 90


def test_evaluation_goes_round():
    made = module(n_val_views=4, n_test_views=5, eval_height=3, eval_width=3)
    made.setup()
    val, test = list(made.val_dataloader()), list(made.test_dataloader())
    assert [int(view["azimuth"]) for view in val] == [0, 90, 180, 270]
    assert [int(view["azimuth"]) for view in test] == [0, 90, 180, 270, 360]
    assert val[1]["rays_d"].shape == (1, 3, 3, 3)
    assert int(val[1]["index"]) == 1
    assert val[1]["height"] == 3
    torch.testing.assert_close(val[1]["camera_positions"][0, :2], torch.tensor([0.0, 1.5 * math.cos(math.radians(15))]))


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ({"batch_size": 0}, "data.batch_size=0"),
        ({"height": [4, 8]}, "data.resolution_milestones"),
        ({"height": [4, 8], "width": 4, "resolution_milestones": [5]}, "data.width"),
        ({"light_sample_strategy": "sun"}, "data.light_sample_strategy='sun'"),
        ({"fovy_range": [60, 40]}, "data.fovy_range"),
        ({"fovy_range": [0, 40]}, "between 0 and 180"),
        ({"elevation_range": [-10, 120]}, "data.elevation_range"),
        ({"camera_distance_range": [0, 1]}, "data.camera_distance_range"),
        ({"azimuth_range": [0]}, "azimuth_range"),
        ({"eval_elevation_deg": 90}, "data.eval_elevation_deg=90"),
        ({"eval_camera_distance": 0}, "data.eval_camera_distance=0"),
        ({"n_test_views": 0}, "data.n_test_views=0"),
        ({"height": [4, 5, 6], "width": [4, 5, 6], "batch_size": [1, 1, 1], "resolution_milestones": [9, 5]}, "order"),
        ({"zoom": 2}, "zoom"),
        ({"camera_perturb": -math.inf}, "data.camera_perturb=-inf"),
        ({"up_perturb": math.nan}, "data.up_perturb=nan"),
        ({"camera_distance_range": [1.0, math.inf]}, "data.camera_distance_range"),
        ({"batch_size": 99999999999999}, "data.batch_size=99999999999999 with images of 9 x 7 pixels needs at least"),
        ({"n_val_views": 99999999999999}, "data.n_val_views=99999999999999 with images of 512 x 512 pixels needs"),
        ({"eval_width": 99999999999999}, "data.n_val_views=1 with images of 99999999999999 x 512 pixels needs"),
        ({"batch_size": True}, "data.batch_size=True"),
        ({"width": "wide"}, "data.width='wide'"),
    ],
)
def test_impossible_values_are_named(config, word):
    with pytest.raises(UserError, match=word.replace("[", r"\[")):
        module(**config)
