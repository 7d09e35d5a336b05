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
def test_true_objects_are_told_from_every_side(judge, object_class) -> None:
    images = objects("red", "blue", "red", object_class=object_class)
    found = judge_objects(images, AZIMUTH, ELEVATION, judge, CLASSES.index(object_class))
    assert found["colors"] == 2
    assert found["view_accuracy"] == 1
    assert found["class_accuracy"] > 0.9
    assert len(found["class_accuracy_each"]) == 3
    wrong = judge_objects(images, AZIMUTH, ELEVATION, judge, CLASSES.index("snowman"))
    assert wrong["class_accuracy"] < 0.1


def test_an_object_with_its_front_on_every_side_is_found(judge) -> None:
    janus = objects("red", azimuth=torch.zeros(8))
    assert judge_objects(janus, AZIMUTH, ELEVATION, judge)["view_accuracy"] == pytest.approx(0.25)


def test_views_of_two_faces_do_not_count(judge) -> None:
    azimuth = torch.tensor([44.0, 46.0])
    images = objects("red")[:, :2]
    assert judge_objects(images, azimuth, ELEVATION[:2], judge)["view_accuracy"] is None


def test_diversity_compares_the_same_camera_only() -> None:
    """Two equal objects that look different from each side have no diversity; two different ones have."""
    images = torch.rand(1, 3, 3, 4, 4)
    networks = {"pixels": lambda x: x.flatten(1)}
    assert view_diversity(images.repeat(2, 1, 1, 1, 1), networks)["pixels"] == pytest.approx(0, abs=1e-6)
    assert view_diversity(torch.rand(2, 3, 3, 4, 4), networks)["pixels"] > 0.05
