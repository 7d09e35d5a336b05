"""Backgrounds: shapes, what is trained, and random colors in training."""

import random

import pytest
import threestudio_rsd.standalone.models  # noqa: F401
import torch
from threestudio_rsd.errors import UserError
from threestudio_rsd.host import find

NAMES = ("solid-color-background", "neural-environment-map-background")


def directions(b=3, h=4, w=5):
    return torch.nn.functional.normalize(torch.randn(b, h, w, 3), dim=-1)


@pytest.mark.parametrize("name", NAMES)
def test_colors_have_the_shape_of_the_directions_and_repeat_themselves(name):
    background, dirs = find(name)({}), directions()
    color = background(dirs)
    assert color.shape == (3, 4, 5, 3)
    assert ((color >= 0) & (color <= 1)).all()
    assert torch.equal(color, background(dirs=dirs))


def test_a_solid_color_is_white_unless_told_otherwise():
    assert (find(NAMES[0])({})(directions()) == 1).all()
    background = find(NAMES[0])({"color": [0.5, 0.25, 0.0]})
    assert torch.equal(background(directions())[2, 3, 4], torch.tensor([0.5, 0.25, 0.0]))
    assert (list(background.parameters()), set(background.state_dict())) == ([], {"env_color"})
    assert find(NAMES[0])({"n_output_dims": 4, "color": [0, 0, 0, 1]})(directions()).shape == (3, 4, 5, 4)
    with pytest.raises(UserError, match="2 channels"):
        find(NAMES[0])({"color": [0, 0]})


def test_a_learned_color_gets_a_gradient():
    background = find(NAMES[0])({"learned": True})
    background(directions()).sum().backward()
    assert background.env_color.grad.tolist() == [60, 60, 60]


@pytest.mark.parametrize(("name", "cfg"), [(NAMES[0], {"learned": True}), (NAMES[1], {})])
def test_random_colors_are_drawn_in_training_one_for_each_view(name, cfg):
    background, dirs = find(name)({"random_aug": True, "random_aug_prob": 1.0, **cfg}), directions()
    torch.manual_seed(1)
    color = background(dirs)
    assert (color == color[:, :1, :1]).all()
    assert len(color[:, 0, 0].unique(dim=0)) == 3
    torch.manual_seed(1)
    assert torch.equal(background(dirs), color)
    color.sum().backward()
    assert all((parameter.grad == 0).all() for parameter in background.parameters())
    background.eval()
    assert torch.equal(background(dirs), background(dirs))


def test_random_colors_come_as_often_as_configured():
    background, dirs = find(NAMES[0])({"random_aug": True, "random_aug_prob": 0.3}), directions(1, 1, 1)
    random.seed(0)
    drawn = [bool((background(dirs) != 1).any()) for _ in range(1000)]
    assert sum(drawn) / 1000 == pytest.approx(0.3, abs=0.05)


def test_an_environment_map_depends_on_the_direction_and_may_be_plain_in_evaluation():
    background, dirs = find(NAMES[1])({"eval_color": [0.0, 0.5, 1.0]}), directions()
    assert not torch.allclose(background(dirs), background(-dirs))
    assert torch.equal(background.eval()(dirs), torch.tensor([0.0, 0.5, 1.0]).expand(3, 4, 5, 3))
