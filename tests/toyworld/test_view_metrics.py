"""Metrics of renders of one object from several cameras."""

import pytest
import torch
from threestudio_rsd.files import data_path
from threestudio_rsd.metrics import view_diversity
from threestudio_rsd.toyworld import CLASSES, Camera, ToyworldJudge, judge_objects, render

AZIMUTH, ELEVATION = torch.arange(8) * 45.0, torch.full((8,), 15.0)


@pytest.fixture(scope="module")
def judge() -> ToyworldJudge:
    return ToyworldJudge.from_folder(data_path("load/toyworld/judge"))


def objects(*colors: str, object_class: str = "mushroom", azimuth: torch.Tensor = AZIMUTH) -> torch.Tensor:
    camera = Camera(azimuth=azimuth, elevation=ELEVATION)
    return torch.stack([render(object_class, color, camera=camera) for color in colors])


@pytest.mark.parametrize("object_class", ["mushroom", "car", "rocket"])
def test_true_renders_have_high_class_and_view_accuracy(judge, object_class) -> None:
    images = objects("red", "blue", "red", object_class=object_class)
    found = judge_objects(images, AZIMUTH, ELEVATION, judge, CLASSES.index(object_class))
    assert found["colors"] == 2
    assert found["view_accuracy"] == 1
    assert found["class_accuracy"] > 0.9
    assert len(found["class_accuracy_each"]) == 3
    wrong = judge_objects(images, AZIMUTH, ELEVATION, judge, CLASSES.index("snowman"))
    assert wrong["class_accuracy"] < 0.1


def test_object_with_a_front_on_every_side_has_view_accuracy_one_quarter(judge) -> None:
    janus = objects("red", azimuth=torch.zeros(8))
    assert judge_objects(janus, AZIMUTH, ELEVATION, judge)["view_accuracy"] == pytest.approx(0.25)


def test_views_near_the_boundary_of_two_sides_are_left_out(judge) -> None:
    azimuth = torch.tensor([44.0, 46.0])
    images = objects("red")[:, :2]
    assert judge_objects(images, azimuth, ELEVATION[:2], judge)["view_accuracy"] is None


def test_view_diversity_compares_only_renders_of_the_same_camera() -> None:
    """Two equal objects have diversity 0, even if their views differ; two different objects have a positive one."""
    images = torch.rand(1, 3, 3, 4, 4)
    networks = {"pixels": lambda x: x.flatten(1)}
    assert view_diversity(images.repeat(2, 1, 1, 1, 1), networks)["pixels"] == pytest.approx(0, abs=1e-6)
    assert view_diversity(torch.rand(2, 3, 3, 4, 4), networks)["pixels"] > 0.05
