"""Encodings against slow references and formulas: values, gradients, updates, and names in checkpoints."""

import itertools
import math

import pytest
import torch
from omegaconf import OmegaConf
from threestudio_rsd.errors import UserError
from threestudio_rsd.standalone.models.networks import get_encoding
from threestudio_rsd.standalone.models.networks.encodings import Frequency, HashGrid, ProgressiveBandHashGrid
from torch.func import functional_call, stack_module_state, vmap

GRID = {"otype": "HashGrid", "n_levels": 4, "base_resolution": 4, "log2_hashmap_size": 8, "per_level_scale": 1.6}
PROGRESS = {**GRID, "otype": "ProgressiveBandHashGrid", "start_level": 2, "start_step": 10, "update_steps": 5}
CONFIGS = [
    GRID,
    {**GRID, "n_features_per_level": 3, "include_xyz": True},
    PROGRESS,
    {"otype": "Frequency", "n_frequencies": 3},
    {"otype": "ProgressiveBandFrequency", "n_frequencies": 3, "n_masking_step": 4},
    {"otype": "SphericalHarmonics", "degree": 3},
]


def of(config):
    return f"{config['otype']}{'+xyz' if config.get('include_xyz') else ''}"


def randomize(module):
    """Replace the tiny initial features by ones of size 1, which show differences."""
    for parameter in module.parameters():
        torch.nn.init.uniform_(parameter, -1, 1)
    return module


def slow_hash_grid(grid, point):
    """One point, with plain numbers and the 32-bit arithmetic of the published algorithm."""
    features = []
    first = 0
    n_dims = len(point)
    for level in range(grid.cfg.n_levels):
        scale = grid.cfg.base_resolution * grid.cfg.per_level_scale**level - 1
        resolution = math.ceil(scale) + 1
        size = min(math.ceil(resolution**n_dims / 8) * 8, 2**grid.cfg.log2_hashmap_size)
        table = grid.encoding["params"].view(-1, grid.n_features_per_level)[first : first + size]
        first += size
        positions = [x * scale + 0.5 for x in point]
        total = torch.zeros(grid.n_features_per_level)
        for corner in itertools.product((0, 1), repeat=n_dims):
            weight, place, code = 1.0, 0, 0
            for axis, side in enumerate(corner):
                fraction = positions[axis] - math.floor(positions[axis])
                vertex = math.floor(positions[axis]) + side
                weight *= fraction if side else 1 - fraction
                place += vertex * resolution**axis
                code ^= vertex * (1, 2654435761, 805459861)[axis] % 2**32
            total = total + weight * table[(place if resolution**n_dims <= size else code) % size]
        features.append(total)
    return torch.cat(features)


@pytest.mark.parametrize("n_dims", [2, 3])
@pytest.mark.parametrize("n_features", [1, 2, 4])
def test_hash_grid_equals_an_explicit_loop(n_dims, n_features):
    grid = randomize(HashGrid(n_dims, {**GRID, "n_features_per_level": n_features}))
    corners = torch.tensor(list(itertools.product((0.0, 0.5, 1.0), repeat=n_dims)))
    points = torch.cat([torch.rand(20, n_dims), corners])
    slow = torch.stack([slow_hash_grid(grid, point.tolist()) for point in points])
    assert torch.allclose(grid(points), slow, atol=1e-5)


def test_hash_grid_has_dense_and_hashed_levels():
    grid = HashGrid(3, GRID)
    assert [level.resolution for level in grid.levels] == [4, 7, 11, 17]
    assert [level.size for level in grid.levels] == [64, 256, 256, 256]
    assert [level.hashed(3) for level in grid.levels] == [False, True, True, True]


def test_sizes_of_threestudios_default_grid():
    levels = HashGrid(3, {"per_level_scale": 1.447269237440378}).levels
    sizes = [level.size for level in levels]
    assert sizes[:5] == [4096, 13824, 39304, 117656, 357912]  # 16^3, 24^3, 34^3, 49^3 and 71^3, to the next 8
    assert set(sizes[5:]) == {2**19}


def test_hash_grid_starts_small():
    values = HashGrid(3, GRID).encoding["params"]
    assert 0.9e-4 < values.abs().max() <= 1e-4
    assert abs(values.mean()) < 1e-5


@pytest.mark.parametrize("config", CONFIGS, ids=of)
def test_gradients(config):
    encoding = randomize(get_encoding(3, config)).double()
    points = (0.05 + 0.9 * torch.rand(3, 3, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(encoding, points)
    assert torch.autograd.gradgradcheck(encoding, points)
    for parameter in encoding.parameters():
        weights = torch.randn(3, encoding.n_output_dims, dtype=torch.float64)
        (gradient,) = torch.autograd.grad((encoding(points) * weights).sum(), parameter)
        step = torch.randn_like(parameter)
        with torch.no_grad():
            before = (encoding(points) * weights).sum()
            parameter.add_(step)
            after = (encoding(points) * weights).sum()
        assert torch.allclose(after - before, (gradient * step).sum())  # linear in the table


@pytest.mark.parametrize("config", CONFIGS, ids=of)
def test_width_and_shape(config):
    encoding = get_encoding(3, OmegaConf.create(config))
    assert encoding(torch.rand(5, 3)).shape == (5, encoding.n_output_dims)
    assert encoding(torch.rand(0, 3)).shape == (0, encoding.n_output_dims)


@pytest.mark.parametrize("config", CONFIGS, ids=of)
def test_stacked_encodings_equal_a_loop(config):
    """Values and gradients of N encodings with stacked parameters."""
    encodings = [randomize(get_encoding(3, config)) for _ in range(3)]
    points = torch.rand(3, 7, 3)
    parameters, buffers = stack_module_state(encodings)
    stacked = vmap(lambda p, b, x: functional_call(encodings[0], (p, b), (x,)))(parameters, buffers, points)
    looped = torch.stack([encoding(x) for encoding, x in zip(encodings, points, strict=True)])
    assert torch.allclose(stacked, looped, atol=1e-6)
    if parameters:
        weights = torch.randn_like(looped)
        (stacked * weights).sum().backward()
        (looped * weights).sum().backward()
        for name, value in parameters.items():
            expected = torch.stack([dict(encoding.named_parameters())[name].grad for encoding in encodings])
            assert torch.allclose(value.grad, expected, atol=1e-6)


def test_points_outside_count_as_on_the_border():
    grid = randomize(HashGrid(3, GRID))
    assert torch.equal(grid(torch.tensor([[1.1, 0.5, -3.0]])), grid(torch.tensor([[1.0, 0.5, 0.0]])))


@pytest.mark.parametrize(("step", "levels"), [(0, 2), (14, 2), (15, 3), (20, 4), (999, 4)])
def test_levels_join_as_steps_go_by(step, levels):
    grid = randomize(ProgressiveBandHashGrid(3, PROGRESS))
    full = randomize(HashGrid(3, GRID))
    full.load_state_dict(grid.state_dict())
    for _ in range(2):  # a second update of the same step changes nothing
        grid.update_step(0, step)
        points = torch.rand(5, 3)
        assert torch.equal(grid(points)[:, : 2 * levels], full(points)[:, : 2 * levels])
        assert not grid(points)[:, 2 * levels :].any()


def test_composite_passes_updates_on():
    encoding = get_encoding(3, PROGRESS)
    encoding.do_update_step(0, 15)
    assert encoding.encoding.current_level == 3


def test_progressive_frequency_by_its_formula():
    encoding = get_encoding(2, {"otype": "ProgressiveBandFrequency", "n_frequencies": 2, "n_masking_step": 100})
    x = torch.tensor([[0.3, 0.8]])
    full = torch.cat([x.sin(), x.cos(), (2 * x).sin(), (2 * x).cos()], dim=1)
    assert torch.allclose(encoding(x), full)
    for step, weights in [(0, [0, 0]), (25, [0.5, 0]), (50, [1, 0]), (75, [1, 0.5]), (100, [1, 1]), (200, [1, 1])]:
        encoding.do_update_step(0, step)
        expected = full.view(2, 4) * torch.tensor(weights)[:, None]
        assert torch.allclose(encoding(x), expected.view(1, 8), atol=1e-6)


def test_frequency_by_its_formula():
    x = torch.tensor([[0.3, 0.8]])
    a, b = math.pi * 0.3, math.pi * 0.8
    expected = [f(k * angle) for angle in (a, b) for k in (1, 2) for f in (math.sin, math.cos)]
    assert torch.allclose(Frequency(2, {"n_frequencies": 2})(x), torch.tensor([expected]))


def test_points_before_the_encoding():
    encoding = get_encoding(3, {**GRID, "include_xyz": True})
    assert encoding.n_output_dims == 3 + 8
    points = torch.rand(4, 3)
    assert torch.allclose(encoding(points)[:, :3], points * 2 - 1)


def test_name_of_the_table_in_checkpoints():
    """threestudio: geometry.encoding (composite) .encoding (hash grid) .encoding (tiny-cuda-nn) .params."""
    for config in (GRID, PROGRESS):
        assert list(get_encoding(3, config).state_dict()) == ["encoding.encoding.params"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"otype": "Hashgrid"}, "otype='Hashgrid' is unknown; accepted: HashGrid"),
        ({**GRID, "n_levels": 0}, "n_levels=0 is impossible; accepted: an integer from 1 to 64"),
        ({**GRID, "n_level": 3}, "n_level=3 is an unknown key; did you mean n_levels"),
        ({**GRID, "start_level": 3}, "start_level=3 is an unknown key"),
        ({**GRID, "n_levels": 99999999999999}, "n_levels=99999999999999 is impossible; accepted: an integer from 1 to"),
        ({**GRID, "log2_hashmap_size": 99999999999999}, "log2_hashmap_size=99999999999999 is impossible"),
        ({**GRID, "n_features_per_level": 99999999999999}, "n_features_per_level=99999999999999 needs at least"),
        ({**GRID, "base_resolution": 99999999999999}, r"log2\(base_resolution \* per_level_scale .* is impossible"),
        ({**PROGRESS, "update_steps": 0}, "update_steps=0 is impossible; accepted: an integer of at least 1"),
        (
            {"otype": "Frequency", "n_frequencies": 0},
            "n_frequencies=0 is impossible; accepted: an integer from 1 to 128",
        ),
    ],
)
def test_bad_configs(config, message):
    with pytest.raises(UserError, match=message):
        get_encoding(3, config)
