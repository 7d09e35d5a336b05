"""Materials: shapes, shadings, order of random draws, and export."""

import random

import pytest
import threestudio_rsd.standalone.models  # noqa: F401
import torch
from threestudio_rsd.errors import UserError
from threestudio_rsd.host import find

MLP = {"otype": "VanillaMLP", "activation": "ReLU", "n_neurons": 8, "n_hidden_layers": 1}


def samples(n=5, n_features=3):
    points, normals, lights, viewdirs = torch.randn(4, n, 3)
    unit = torch.nn.functional.normalize
    return {
        "features": torch.randn(n, n_features),
        "positions": points,
        "shading_normal": unit(normals, dim=-1),
        "light_positions": lights * 4,
        "viewdirs": unit(viewdirs, dim=-1),
    }


@pytest.mark.parametrize(
    ("name", "n_features"),
    [("no-material", 3), ("diffuse-with-point-light-material", 3), ("neural-radiance-material", 8)],
)
def test_colors_have_three_channels_and_repeat_themselves_in_evaluation(name, n_features):
    material = find(name)({}).eval()
    inputs = samples(n_features=n_features)
    color = material(**inputs, more="ignored")
    assert color.shape == (5, 3)
    assert ((color >= 0) & (color <= 1)).all()
    assert torch.equal(color, material(**inputs))
    grid = {key: value.reshape(1, 5, 1, -1) for key, value in inputs.items()}
    torch.testing.assert_close(material(**grid), color.reshape(1, 5, 1, 3))


def test_only_the_lit_material_asks_for_normals_unless_told_to():
    requires = {
        name: find(name)({}).requires_normal
        for name in ("no-material", "diffuse-with-point-light-material", "neural-radiance-material")
    }
    assert list(requires.values()) == [False, True, False]
    assert find("no-material")({"requires_normal": True}).requires_normal
    assert not find("no-material")({}).requires_tangent


def test_no_material_shows_the_features():
    features = samples()["features"]
    assert torch.equal(find("no-material")({})(features), features.sigmoid())
    assert torch.equal(find("no-material")({"color_activation": "none"})(features), features)


def test_no_material_may_have_a_network():
    material = find("no-material")({"input_feature_dims": 7, "mlp_network_config": MLP, "n_output_dims": 4})
    assert material(torch.randn(2, 6, 7)).shape == (2, 6, 4)
    assert [name for name, _ in material.named_parameters()] == ["network.layers.0.weight", "network.layers.2.weight"]


def test_wrong_numbers_of_features_are_named():
    with pytest.raises(UserError, match="n_feature_dims=3"):
        find("no-material")({})(torch.randn(5, 8))


def test_export_gives_colors_in_the_unit_range():
    features = samples()["features"] * 9
    for name in ("no-material", "diffuse-with-point-light-material"):
        albedo = find(name)({})
        assert torch.equal(albedo.export(features=features, more=1)["albedo"], features.sigmoid())
    plain = find("no-material")({"color_activation": "none", "n_output_dims": 4})
    assert torch.equal(plain.export(torch.cat([features, features[:, :1]], 1))["albedo"], features.clamp(0, 1))
    assert find("neural-radiance-material")({}).export(features=features) == {}
    with pytest.raises(UserError, match="n_output_dims"):
        find("no-material")({"n_output_dims": 1}).export(features[:, :1])


def lit(**cfg):
    material = find("diffuse-with-point-light-material")(cfg)
    material.update_step(0, 5000)
    return material


def test_the_three_shadings():
    inputs = samples()
    albedo = inputs["features"].sigmoid()
    to_light = torch.nn.functional.normalize(inputs["light_positions"] - inputs["positions"], dim=-1)
    facing = (inputs["shading_normal"] * to_light).sum(-1, keepdim=True).clamp(min=0)
    light = (0.1 + 0.9 * facing).expand(-1, 3)
    material = lit()
    torch.testing.assert_close(material(**inputs, shading="albedo"), albedo)
    torch.testing.assert_close(material(**inputs, shading="textureless"), light)
    torch.testing.assert_close(material(**inputs, shading="diffuse"), albedo * light)
    torch.testing.assert_close(material(**inputs, shading="textureless", ambient_ratio=1.0), torch.ones(5, 3))
    torch.testing.assert_close(material.eval()(**inputs), albedo * light)
    torch.testing.assert_close(lit(ambient_only_on_test=True).eval()(**inputs), albedo)
    with pytest.raises(UserError, match="albedo, textureless, diffuse"):
        material(**inputs, shading="toon")


def test_light_colors_are_kept_but_not_trained():
    material = lit(diffuse_light_color=[0.5, 0.6, 0.7])
    assert set(material.state_dict()) == {"ambient_light_color", "diffuse_light_color"}
    torch.testing.assert_close(material.state_dict()["diffuse_light_color"], torch.tensor([0.5, 0.6, 0.7]))


def test_no_light_in_the_first_steps():
    material = find("diffuse-with-point-light-material")({"ambient_only_steps": 10})
    inputs = samples()
    for step in (0, 9):
        material.update_step(0, step)
        for _ in range(5):
            torch.testing.assert_close(material(**inputs), inputs["features"].sigmoid())
    material.update_step(0, 10)
    assert not material.ambient_only


def test_shadings_are_drawn_with_their_probabilities_and_repeat_with_the_seed():
    material, inputs = lit(), samples()
    options = {name: material(**inputs, shading=name) for name in ("albedo", "textureless", "diffuse")}

    def draw():
        color = material(**inputs)
        return next(name for name, option in options.items() if torch.allclose(color, option))

    random.seed(0)
    drawn = [draw() for _ in range(1000)]
    for name, share in (("albedo", 0.25), ("textureless", 0.375), ("diffuse", 0.375)):
        assert drawn.count(name) / 1000 == pytest.approx(share, abs=0.05)
    random.seed(0)
    assert [draw() for _ in range(50)] == drawn[:50]


def test_the_share_of_light_is_drawn_before_the_shading():
    material, inputs = lit(soft_shading=True, diffuse_prob=1.0, textureless_prob=1.0), samples()
    random.seed(3)
    color = material(**inputs)
    random.seed(3)
    share = random.random()
    torch.testing.assert_close(color, material(**inputs, shading="textureless", ambient_ratio=1 - share))


def test_every_parameter_has_a_gradient_under_every_shading():
    material, inputs = lit(), samples()
    for name in ("features", "shading_normal"):
        inputs[name].requires_grad_()
    for shading in ("albedo", "textureless", "diffuse"):
        gradients = torch.autograd.grad(
            material(**inputs, shading=shading).sum(), [inputs["features"], inputs["shading_normal"]]
        )
        assert all(gradient.isfinite().all() for gradient in gradients)


def test_radiance_depends_on_the_view():
    material, inputs = find("neural-radiance-material")({}), samples(n_features=8)
    assert not torch.allclose(material(**inputs), material(**{**inputs, "viewdirs": -inputs["viewdirs"]}))
    assert material.n_input_dims == 8 + 9
