"""`implicit-volume`: density, features, normals, settings that change with the step, and errors."""

import pytest
import torch
from threestudio_rsd.errors import UserError
from threestudio_rsd.host import find
from torch.func import functional_call, stack_module_state, vmap

GRID = {"otype": "HashGrid", "n_levels": 3, "base_resolution": 4, "log2_hashmap_size": 8, "per_level_scale": 1.6}
PROGRESS = {**GRID, "otype": "ProgressiveBandHashGrid", "start_level": 1, "start_step": 10, "update_steps": 5}
WAVES = {"otype": "ProgressiveBandFrequency", "n_frequencies": 3}
MLP = {"otype": "VanillaMLP", "activation": "ReLU", "n_neurons": 8, "n_hidden_layers": 1}


def make_geometry(**cfg):
    return find("implicit-volume")({"pos_encoding_config": WAVES, "mlp_network_config": MLP, **cfg})


def make_blob(**cfg):
    """Geometry whose weights are all 0, so that the density depends on the bias alone."""
    geometry = make_geometry(**cfg)
    with torch.no_grad():
        for parameter in geometry.parameters():
            parameter.zero_()
    return geometry


def points_in_cube(*shape, radius=1.0):
    return (torch.rand(*shape, 3) * 2 - 1) * radius


@pytest.mark.parametrize("encoding", [GRID, PROGRESS, WAVES], ids=lambda config: config["otype"])
@pytest.mark.parametrize("shape", [(5,), (2, 3, 4), (0,)])
def test_shapes(encoding, shape):
    geometry = make_geometry(pos_encoding_config=encoding, n_feature_dims=4, normal_type="analytic", radius=2.0)
    points = points_in_cube(*shape, radius=2.0)
    output = geometry(points, output_normal=True)
    assert {name: tuple(value.shape) for name, value in output.items()} == {
        "density": (*shape, 1),
        "features": (*shape, 4),
        "normal": (*shape, 3),
        "shading_normal": (*shape, 3),
    }
    assert set(geometry(points)) == {"density", "features"}
    assert torch.equal(geometry.forward_density(points), geometry(points)["density"])
    assert torch.equal(geometry.forward_field(points)[0], geometry(points)["density"])
    assert torch.equal(geometry.export(points)["features"], geometry(points)["features"])


def test_no_features():
    geometry = make_geometry(n_feature_dims=0)
    assert set(geometry(points_in_cube(2))) == {"density"}
    assert geometry.export(points_in_cube(2)) == {}


def test_names_of_weights_are_threestudios():
    names = set(make_geometry(pos_encoding_config=GRID, normal_type="pred").state_dict())
    layers = {f"{part}_network.layers.{i}.weight" for part in ("density", "feature", "normal") for i in (0, 2)}
    assert names == {"bbox", "encoding.encoding.encoding.params"} | layers


@pytest.mark.parametrize(
    ("bias", "raw"),
    [
        ("blob_dreamfusion", lambda r: 10 * (-0.5 * r**2 / 0.5**2).exp()),
        ("blob_magic3d", lambda r: 10 * (1 - r / 0.5)),
        (-1.5, lambda r: torch.full_like(r, -1.5)),
        (3, lambda r: torch.full_like(r, 3.0)),
    ],
)
def test_density_biases(bias, raw):
    points = points_in_cube(20)
    density = make_blob(density_bias=bias)(points)["density"]
    expected = torch.nn.functional.softplus(raw(points.norm(dim=1, keepdim=True)))
    assert torch.allclose(density, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("normal_type", "accuracy"),
    [("analytic", 1e-5), ("finite_difference", 0.05), ("finite_difference_laplacian", 1e-3)],
)
@pytest.mark.parametrize("bias", ["blob_dreamfusion", "blob_magic3d"])
def test_normals_of_a_blob_point_outwards(normal_type, accuracy, bias):
    geometry = make_blob(normal_type=normal_type, density_bias=bias)
    points = torch.nn.functional.normalize(torch.randn(20, 3), dim=1) * (0.2 + 0.2 * torch.rand(20, 1))
    normal = geometry(points, output_normal=True)["normal"]
    assert torch.allclose(normal, points / points.norm(dim=1, keepdim=True), atol=accuracy)


@pytest.mark.parametrize("encoding", [GRID, WAVES], ids=lambda config: config["otype"])
def test_analytic_normal_is_the_gradient(encoding):
    geometry = make_geometry(pos_encoding_config=encoding, normal_type="analytic")
    points = points_in_cube(20).requires_grad_()
    (gradient,) = torch.autograd.grad(geometry(points)["density"].sum(), points)
    normal = geometry(points, output_normal=True)["normal"]
    assert torch.allclose(normal, -gradient / gradient.norm(dim=1, keepdim=True), atol=1e-5)


@pytest.mark.parametrize("normal_type", ["analytic", "finite_difference", "finite_difference_laplacian", "pred"])
def test_a_loss_on_normals_trains_the_networks(normal_type):
    geometry = make_geometry(pos_encoding_config=GRID, normal_type=normal_type)
    output = geometry(points_in_cube(20), output_normal=True)
    (output["normal"] * torch.randn(20, 3)).sum().backward()
    trained = geometry.normal_network if normal_type == "pred" else geometry.density_network
    for parameter in (*geometry.encoding.parameters(), *trained.parameters()):
        assert parameter.grad.abs().max() > 0


@pytest.mark.parametrize("normal_type", ["analytic", "finite_difference"])
def test_normals_without_gradients(normal_type):
    geometry = make_geometry(normal_type=normal_type)
    with torch.no_grad():
        output = geometry(points_in_cube(4), output_normal=True)
    assert not any(value.requires_grad for value in output.values())
    assert torch.allclose(output["normal"].norm(dim=1), torch.ones(4))


def test_normals_at_the_center_are_finite():
    geometry = make_geometry(normal_type="analytic")
    output = geometry(torch.zeros(1, 3), output_normal=True)
    output["normal"].sum().backward()
    assert output["normal"].isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in geometry.density_network.parameters())


@pytest.mark.parametrize("normal_type", ["analytic", "finite_difference", "pred"])
@pytest.mark.parametrize("encoding", [GRID, WAVES], ids=lambda config: config["otype"])
def test_stacked_geometries_equal_a_loop(normal_type, encoding):
    geometries = [make_geometry(pos_encoding_config=encoding, normal_type=normal_type) for _ in range(3)]
    points = points_in_cube(3, 7)
    parameters, buffers = stack_module_state(geometries)

    def one(p, b, x):
        return functional_call(geometries[0], (p, b), (x,), {"output_normal": True})

    stacked = vmap(one)(parameters, buffers, points)
    looped = [geometry(x, output_normal=True) for geometry, x in zip(geometries, points, strict=True)]
    weights = {name: torch.randn_like(value) for name, value in stacked.items()}
    for name, value in stacked.items():
        assert torch.allclose(value, torch.stack([output[name] for output in looped]), atol=1e-5), name
    sum((value * weights[name]).sum() for name, value in stacked.items()).backward()
    sum((output[name] * weights[name][i]).sum() for i, output in enumerate(looped) for name in weights).backward()
    for name, value in parameters.items():
        expected = torch.stack([dict(geometry.named_parameters())[name].grad for geometry in geometries])
        assert torch.allclose(value.grad, expected, atol=1e-4, rtol=1e-4), name


def test_levels_join_and_the_progressive_step_shrinks():
    geometry = make_geometry(
        pos_encoding_config=PROGRESS, normal_type="finite_difference", finite_difference_normal_eps="progressive"
    )
    for step, level in [(0, 1), (15, 2), (20, 3), (99, 3)]:
        geometry.do_update_step(0, step)
        assert geometry.encoding.encoding.current_level == level
        assert geometry.finite_difference_normal_eps == pytest.approx(2 / (4 * 1.6 ** (level - 1)))


def test_annealed_blob():
    anneal = {"min_anneal_step": 10, "max_anneal_step": 20, "start_val": 0.5, "end_val": 0.1}
    geometry = make_geometry(anneal_density_blob_std_config=anneal)
    for step, std in [(0, 0.5), (10, 0.5), (15, 0.3), (20, 0.1), (99, 0.1)]:
        geometry.update_step(0, step)
        assert geometry.density_blob_std == pytest.approx(std)


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        ({"normal_type": "numeric"}, "normal_type='numeric' is unknown; accepted: analytic, finite_difference"),
        ({"density_bias": "blob"}, "density_bias='blob' is impossible; accepted: a number, blob_dreamfusion or"),
        ({"density_activation": "sofplus"}, "density_activation='sofplus' is unknown; accepted: none, exp"),
        ({"finite_difference_normal_eps": 0}, "finite_difference_normal_eps=0 is impossible; accepted: a positive"),
        ({"finite_difference_normal_eps": "progressive"}, "needs pos_encoding_config.otype=ProgressiveBandHashGrid"),
        ({"isosurface_threshold": "high"}, "isosurface_threshold='high' is impossible; accepted: a number or auto"),
        ({"isosurface_method": "dmtet"}, "isosurface_method='dmtet' is unknown; accepted: mt, mc-cpu"),
        ({"density_blob": 3}, "density_blob=3 is an unknown key; did you mean density_blob"),
    ],
)
def test_bad_configs(cfg, message):
    with pytest.raises(UserError, match=message):
        make_geometry(**cfg)


def test_normals_that_the_config_does_not_give():
    with pytest.raises(UserError, match="normal_type=None gives no normals, but they are needed; accepted: analytic"):
        make_geometry(normal_type=None)(points_in_cube(2), output_normal=True)
